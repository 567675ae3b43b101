#!/bin/sh
# Makes what compose.yml calls its secrets, into secrets/ beside it. What is there stays as it is.
#
# Compose mounts a file with its owner and mode, and the gateways run as user 10001, without root: so theirs are given to
# that user, and this needs root for it (sudo ./make-secrets.sh). Back master.key up, apart from the database.
set -eu
umask 077
cd "$(dirname "$0")"
mkdir -p secrets
chmod 0711 secrets
random() { head -c 32 /dev/urandom | base64 | tr -d '\n'; }

[ -e secrets/master.key ] || random >secrets/master.key
[ -e secrets/admin.token ] || echo "gwa_$(random | tr '+/' '-_' | tr -d '=')" >secrets/admin.token
[ -e secrets/database.password ] || random | tr '+/' '-_' | tr -d '=' >secrets/database.password
[ -e secrets/pgpass ] || echo "*:*:*:gateway:$(cat secrets/database.password)" >secrets/pgpass
chmod 0400 secrets/*
chown 10001:10001 secrets/master.key secrets/admin.token secrets/pgpass
