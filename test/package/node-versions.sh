#!/usr/bin/env bash
# Install, build and smoke test of the last commit on several versions of Node: bash test/package/node-versions.sh [20 22 24]
#
# Each version comes from the npm package that carries its binary. The engines of every dependency are taken seriously, dev dependencies
# too. All versions, from ES modules and from CommonJS, must draw the same tokens; the last line says so.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
machine=$(node -p '`${process.platform}-${process.arch}`')
checkpoint=$root/test/fixtures/golden/tiny-qwen2_5_vl
image=$root/test/fixtures/golden/images/chelsea_tiny.png
quiet=(--no-audit --no-fund --prefer-offline --loglevel=error)
[ $# -gt 0 ] || set -- 20 22 24

for version in "$@"; do
	here=$work/$version
	mkdir -p "$here"/{node,checkout,empty}
	npm install --prefix "$here/node" "${quiet[@]}" "node-$machine@$version" >"$here/log" 2>&1
	export PATH="$here/node/node_modules/node-$machine/bin:$PATH"
	echo "== Node $(node --version)"
	git -C "$root" archive HEAD | tar -x -C "$here/checkout"
	cd "$here/checkout"
	npm ci --engine-strict "${quiet[@]}" >>"$here/log" 2>&1 || { tail -n 20 "$here/log"; exit 1; }
	npm run build >>"$here/log" 2>&1 || { tail -n 20 "$here/log"; exit 1; }
	npm pack --pack-destination "$here" >>"$here/log" 2>&1
	cd "$here/empty"
	cp "$root"/test/package/smoke.* .
	npm install "${quiet[@]}" "$here"/tfjs-rft-*.tgz >>"$here/log" 2>&1
	for file in smoke.mjs smoke.cjs; do
		node "$file" "$checkpoint" "$image" | tee -a "$work/reports"
	done
	npx tfjs-rft doctor || echo "(doctor: $?)"
done

node -e '
	const reports = require("node:fs").readFileSync(process.argv[1], "utf8").trim().split("\n").map(JSON.parse);
	const same = new Set(reports.map(({ tokens }) => tokens.join())).size === 1 && reports.every((report) => report.oneImageError);
	console.log(`${reports.map(({ node }) => node).join(", ")}: ${same ? "the same" : "NOT the same"}`);
	process.exit(same ? 0 : 1);
' "$work/reports"
