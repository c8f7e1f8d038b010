#!/usr/bin/env bash
# Writes FOLDER/dure.1 (man page) and FOLDER/dure (bash completion), both from what the program's own help says.
# usage: tools/make_manual.sh PROGRAM FOLDER
set -euo pipefail
dure=$1 folder=$2
mkdir -p "$folder"

# The names under "Subcommands:" of a help text.
verbs_in() { awk '/^Subcommands:/ { on = 1; next } on && /^  [a-z]/ { print $1 } on && /^$/ { exit }'; }
options_in() { grep -oE -- '(^|[ ,])-{1,2}[a-z][a-z-]*' | tr -d ' ,' | sort -u | tr '\n' ' '; }

# Every way to call a verb: "chat", "data prepare", ...
calls() {
  local verb inner
  for verb in $("$dure" --help | verbs_in); do
    inner=$("$dure" "$verb" --help | verbs_in)
    if [ -z "$inner" ]; then echo "$verb"; else for sub in $inner; do echo "$verb $sub"; done; fi
  done
}

# Plain text as troff takes it literally.
literal() { sed -e 's/\\/\\e/g' -e 's/-/\\-/g' -e "s/^\([.']\)/\\\\\&\1/"; }

man_page() {
  local call
  printf '.TH DURE 1 "" "dure %s" "User commands"\n' "$("$dure" --version | awk 'NR == 1 { print $2 }')"
  printf '.SH NAME\ndure \\- a K\\-EXAONE\\-class language model through its whole life\n'
  printf '.SH SYNOPSIS\n.B dure\n.I VERB\n[options]\n.SH DESCRIPTION\n.nf\n'
  "$dure" --help | literal
  printf '.fi\n'
  while read -r call; do
    printf '.SH "dure %s"\n.nf\n' "$call"
    # shellcheck disable=SC2086  # A call may be two words.
    "$dure" $call --help | literal
    printf '.fi\n'
  done
  printf '.SH "EXIT STATUS"\n0; 2 for bad input, with one line on standard error; 130 when interrupted.\n'
}

completion() {
  local verb inner call
  echo '# bash completion for dure, made from its help.'
  echo '_dure() {'
  echo '  local current=${COMP_WORDS[COMP_CWORD]} words='
  echo '  case "${COMP_WORDS[1]-} ${COMP_WORDS[2]-}" in'
  while read -r call; do
    case $call in *" "*) pattern="\"$call\"" ;; *) pattern="\"$call \"*" ;; esac
    # shellcheck disable=SC2086
    echo "    $pattern) words='$("$dure" $call --help | options_in)' ;;"
  done
  echo '  esac'
  echo '  case $COMP_CWORD in'
  echo "    1) words='$("$dure" --help | verbs_in | tr '\n' ' ')help version' ;;"
  echo '    2) case ${COMP_WORDS[1]} in'
  for verb in $("$dure" --help | verbs_in); do
    inner=$("$dure" "$verb" --help | verbs_in | tr '\n' ' ')
    [ -z "$inner" ] || echo "      $verb) words='$inner' ;;"
  done
  echo "      help) words='$("$dure" --help | verbs_in | tr '\n' ' ')' ;;"
  echo '    esac ;;'
  echo '  esac'
  echo '  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")'
  echo '}'
  echo 'complete -o default -F _dure dure'
}

calls | man_page > "$folder/dure.1"
calls | completion > "$folder/dure"
