{{/* What everything of this release is called: the release's name, and the chart's with it where it isn't in there. */}}
{{- define "connection-gateway.name" -}}
{{- if contains "connection-gateway" .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-connection-gateway" .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What tells this release's gateways from everything else. */}}
{{- define "connection-gateway.selector" -}}
app.kubernetes.io/name: connection-gateway
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "connection-gateway.labels" -}}
{{ include "connection-gateway.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "connection-gateway.image" -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}

{{- define "connection-gateway.secret" -}}
{{- .Values.existingSecret | default (include "connection-gateway.name" .) -}}
{{- end -}}

{{- define "connection-gateway.policies" -}}
{{- .Values.existingPolicies | default (printf "%s-policies" (include "connection-gateway.name" .)) -}}
{{- end -}}

{{/* The host of publicUrl. */}}
{{- define "connection-gateway.host" -}}
{{- (urlParse (required "publicUrl is required: how browsers and providers reach the pages" .Values.publicUrl)).host -}}
{{- end -}}

{{/* A container without root and with nothing to write. */}}
{{- define "connection-gateway.confined" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end -}}
