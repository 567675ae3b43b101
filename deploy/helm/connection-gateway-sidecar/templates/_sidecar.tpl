{{/*
The gateway as a sidecar, for a chart that has this one among its dependencies (deploy/kubernetes/sidecar.yaml says why
it is as it is). In that chart's pod template, with `dict "gateway" GATEWAY "publicUrl" URL "image" IMAGE`, where GATEWAY
is what the release of the replicas calls its Secret, and with -policies its policies:

  initContainers: include "connection-gateway.sidecar"
  volumes:        include "connection-gateway.sidecarVolumes"
  labels:         connection-gateway/sidecar: "true"
  securityContext: fsGroup: 10001
*/}}
{{- define "connection-gateway.sidecar" -}}
- name: gateway
  image: {{ .image }}
  imagePullPolicy: IfNotPresent
  restartPolicy: Always
  env:
    - { name: GATEWAY_PROXY__LISTEN, value: "127.0.0.1:8080" }
    - { name: GATEWAY_WEB__LISTEN, value: "127.0.0.1:8081" }
    - { name: GATEWAY_WEB__PUBLIC_URL, value: {{ .publicUrl | quote }} }
    - { name: GATEWAY_POLICIES_DIR, value: /etc/connection-gateway/policies }
    - { name: GATEWAY_DATA_DIR, value: /data/own }
    - { name: GATEWAY_KEYS__SOURCE, value: "file:/run/secrets/connection-gateway/master.key" }
    - name: GATEWAY_STORE__URL
      valueFrom:
        secretKeyRef: { name: {{ .gateway }}, key: store.url }
    - { name: GATEWAY_TIMEOUTS__SHUTDOWN, value: 20s }
  startupProbe:
    exec:
      command:
        - /opt/gateway/bin/python
        - -c
        - "import http.client; c = http.client.HTTPConnection('127.0.0.1', 8081, timeout=2); c.request('GET', '/readyz'); raise SystemExit(c.getresponse().status != 200)"
    periodSeconds: 1
    timeoutSeconds: 3
    failureThreshold: 120
  resources:
    requests: { cpu: 50m, memory: 128Mi }
    limits: { memory: 256Mi }
  securityContext:
    runAsUser: 10001
    runAsGroup: 10001
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    capabilities: { drop: [ALL] }
  volumeMounts:
    - { name: gateway-policies, mountPath: /etc/connection-gateway/policies, readOnly: true }
    - { name: gateway-key, mountPath: /run/secrets/connection-gateway, readOnly: true }
    - { name: gateway-data, mountPath: /data }
    - { name: gateway-tmp, mountPath: /tmp }
{{- end -}}

{{- define "connection-gateway.sidecarVolumes" -}}
- name: gateway-policies
  configMap: { name: {{ .gateway }}-policies }
- name: gateway-key
  secret:
    secretName: {{ .gateway }}
    defaultMode: 0440
    items:
      - { key: master.key, path: master.key }
- name: gateway-data
  emptyDir: { medium: Memory, sizeLimit: 16Mi }
- name: gateway-tmp
  emptyDir: { medium: Memory, sizeLimit: 64Mi }
{{- end -}}
