#!/bin/sh
# The gateway's command line on the store of the service, as the service runs: with its user, its directory, its key.
# Install it as /usr/local/bin/connection-gateway, and run it as root: connection-gateway connections list
set -eu
exec systemd-run --quiet --pipe --wait --collect --unit="connection-gateway-command-$$" \
    --property=User=connection-gateway --property=DynamicUser=yes --property=UMask=0077 \
    --property=StateDirectory=connection-gateway --property=StateDirectoryMode=0700 \
    --property=LoadCredential=master.key:/etc/connection-gateway/master.key \
    --property=EnvironmentFile=-/etc/connection-gateway/secrets.env \
    --property=NoNewPrivileges=yes --property=ProtectHome=yes \
    --setenv=GATEWAY_CONFIG=/etc/connection-gateway/config.toml \
    --setenv=GATEWAY_DATA_DIR=/var/lib/connection-gateway \
    --setenv=GATEWAY_POLICIES_DIR=/var/lib/connection-gateway/policies \
    --setenv="GATEWAY_KEYS__SOURCE=file:/run/credentials/connection-gateway-command-$$.service/master.key" \
    /opt/connection-gateway/bin/gateway "$@"
