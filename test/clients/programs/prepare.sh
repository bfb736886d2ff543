#!/usr/bin/env bash
# Gets what the tests of this folder run: mosquitto's clients, a browser, a balancer, aioquic, and the Paho libraries for Python, Go and Java with the programs that use
# them.
# Usage: prepare.sh [FOLDER]. Everything but Debian packages goes below FOLDER (default: dist/clients); what is there and up to date is left alone.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=${1:-"$here/../../../dist/clients"}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

system_packages() {
  local missing=()
  command -v mosquitto_pub >/dev/null || missing+=(mosquitto-clients)
  command -v python3 >/dev/null || missing+=(python3)
  # Debian's python3 has the module venv, but not what venv needs to install pip.
  python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
  command -v go >/dev/null || missing+=(golang-go)
  command -v javac >/dev/null || missing+=(openjdk-17-jdk-headless)
  command -v mvn >/dev/null || missing+=(maven)
  command -v chromium >/dev/null || missing+=(chromium)
  # Debian puts it into /usr/sbin, which is not in everybody's PATH.
  [ -x /usr/sbin/haproxy ] || missing+=(haproxy)
  command -v openssl >/dev/null || missing+=(openssl)
  [ ${#missing[@]} -gt 0 ] || return 0
  echo "installing ${missing[*]}"
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

# Runs the rest of the line when the files of $2 (a folder here) differ from those of the last time that it succeeded.
when_changed() {
  local name=$1 sources=$2 stamp
  shift 2
  stamp=$(cd "$here/$sources" && find . -type f -not -path '*/__pycache__/*' -print0 | sort -z | xargs -0 sha256sum | sha256sum)
  if [ "$(cat "$folder/$name.stamp" 2>/dev/null)" = "$stamp" ]; then return; fi
  echo "preparing $name"
  "$@"
  echo "$stamp" >"$folder/$name.stamp"
}

python_library() {
  rm -rf "$folder/python"
  python3 -m venv "$folder/python"
  "$folder/python/bin/pip" install --quiet --disable-pip-version-check -r "$here/python/requirements.txt"
}

# The libraries need a newer Go than Debian 12 has. From 1.21 on, Go fetches the version that go.mod asks for; an older one is helped to do so.
newer_go() {
  local version=v0.0.1-go1.24.6.linux-$(dpkg --print-architecture) toolchain
  toolchain=$(cd "$folder" && go mod download -json "golang.org/toolchain@$version" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
  chmod -R u+x "$toolchain/bin" "$toolchain/pkg/tool"
  echo "$toolchain/bin/go"
}

go_programs() {
  local go
  go=$(command -v go)
  if go version | grep -qE 'go1\.([0-9]|1[0-9]|20)(\.|$| )'; then go=$(newer_go); fi
  # The tests compile the manual's examples with the same Go.
  printf '#!/bin/sh\nexec %q "$@"\n' "$go" >"$folder/go"
  chmod +x "$folder/go"
  (cd "$here/go" && "$folder/go" build -o "$folder/" ./client-v3 ./client-v5 ./client-scram)
}

java_programs() {
  rm -rf "$folder/java"
  mvn --quiet --batch-mode -f "$here/java/pom.xml" dependency:copy-dependencies -DoutputDirectory="$folder/java"
  javac -d "$folder/java" -cp "$folder/java/*" "$here"/java/*.java
}

system_packages
when_changed python python python_library
when_changed go-programs go go_programs
when_changed java java java_programs
