#!/usr/bin/env bash
# Unpacks a package and uses what is in it as somebody without rights: smoke-test.sh FILE.deb
set -euo pipefail

package=${1:?usage: smoke-test.sh FILE.deb}
directory=$(mktemp -d)
service=
finish() {
  [[ -z $service ]] || kill "$service" 2>/dev/null || true
  rm -rf "$directory"
}
trap finish EXIT

fail() {
  echo "smoke test: $*" >&2
  exit 1
}

dpkg-deb --extract "$package" "$directory/root"
dpkg-deb --control "$package" "$directory/control"
for file in usr/bin/kai etc/default/kai usr/share/doc/kai/copyright usr/share/man/man1/kai.1.gz; do
  [[ -e $directory/root/$file ]] || fail "the package has no /$file"
done
find "$directory/root" -name kai.service | grep -q . || fail "the package has no unit"
for script in "$directory"/control/{postinst,prerm,postrm}; do
  [[ ! -e $script ]] || sh -n "$script"
done
grep -q adduser "$directory/control/postinst" || fail "the package makes no user"
grep -qx /etc/default/kai "$directory/control/conffiles" || fail "an upgrade would overwrite /etc/default/kai"

mkdir "$directory/home"
user=()
if ((EUID == 0)); then
  # 65534: nobody.
  user=(setpriv --reuid=65534 --regid=65534 --clear-groups)
  chmod 755 "$directory"
  chown 65534:65534 "$directory/home"
fi
cd "$directory/home"
kai=("${user[@]}" env -i PATH=/usr/bin:/bin HOME="$directory/home" "$directory/root/usr/bin/kai")

"${kai[@]}" --version | grep -q '^kai [0-9]' || fail "kai --version"
"${kai[@]}" inspect | grep -q CONFLUENCE || fail "kai inspect"
page=(--title T --base-url https://acme.atlassian.net --page-id 1 --space-key ENG)
markdown=$("${kai[@]}" convert "${page[@]}" <<<'<p>kept <strong>up to date</strong></p>')
[[ $markdown == *'kept **up to date**'* ]] || fail "kai convert gave: $markdown"

# The first line of the answer, asked without a program that might not be there.
ask() {
  local status
  exec 3<>"/dev/tcp/127.0.0.1/$port" || return 1
  printf 'GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "$1" >&3
  IFS= read -r -t 10 status <&3 || true
  exec 3>&-
  echo "${status%$'\r'}"
}

port=$((20000 + RANDOM % 10000))
"${kai[@]}" serve --data "$directory/home/data" --listen "127.0.0.1:$port" >service.log 2>&1 &
service=$!
for path in /healthz /readyz; do
  status=
  for _ in {1..300}; do
    kill -0 "$service" 2>/dev/null || fail "kai serve ended: $(cat service.log)"
    status=$(ask "$path" 2>/dev/null) || true
    [[ $status != "HTTP/1.1 200"* ]] || break
    sleep 0.1
  done
  [[ $status == "HTTP/1.1 200"* ]] || fail "$path: ${status:-no answer}; $(cat service.log)"
done
kill -TERM "$service"
code=0
wait "$service" || code=$?
service=
((code == 0)) || fail "kai serve ended with $code after SIGTERM"
echo "smoke test: $(basename "$package") is good"
