#!/usr/bin/env bash
# A picture of a report as a browser shows it, at any width: also that of a phone, which a window cannot have.
# usage: tools/report_picture.sh REPORT.html OUT.png [WIDTH=1240] [HEIGHT=640] [TOP=0] [light|dark]
# docs/images/report.png is the top of the quickstart's report. Needs Chromium and fonts (apt-get install chromium fonts-noto-cjk).
set -euo pipefail
[ $# -ge 2 ] || { sed -n 3,4p "$0" | cut -c3- >&2; exit 2; }
report=$(readlink -f "$1") out=$(readlink -f "$2") width=${3:-1240} height=${4:-640} top=${5:-0} scheme=${6:-light}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cp "$report" "$folder/report.html"
# The page stands in a frame of the width asked for: a window of Chromium is never narrower than 500.
cat > "$folder/frame.html" <<END
<body style="margin:0"><div style="width:${width}px;height:${height}px;overflow:hidden;position:relative">
<iframe src="report.html" style="width:${width}px;height:$((top + height + 4000))px;border:0;position:absolute;top:-${top}px"></iframe></div></body>
END
options=(--headless=new --no-sandbox --disable-gpu --hide-scrollbars --allow-file-access-from-files)
[ "$scheme" = light ] || options+=(--blink-settings=preferredColorScheme=0)
chromium "${options[@]}" --screenshot="$out" --window-size="$((width < 500 ? 500 : width)),$height" "file://$folder/frame.html" 2> /dev/null
