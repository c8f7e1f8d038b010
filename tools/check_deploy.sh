#!/usr/bin/env bash
# Checks the files of deploy/ with their own tools, pinned in a virtual environment beside those of tools/peer_venv.sh:
# yamllint, kubernetes-validate (the API's schemas), check-jsonschema (compose's), hadolint, shellcheck; `nginx -t` where
# nginx is; and that the image has the packages that the program links.
#   tools/check_deploy.sh [DURE]
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
dure=${1:-$root/build/release/dure}
python=$("$root/tools/peer_venv.sh" deploy)
bin=$(dirname "$python")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$root/deploy"

say() { printf '%-20s %s\n' "$1" "$2"; }

"$bin/yamllint" --strict -c .yamllint .
say yamllint 'all YAML'

"$bin/shellcheck" slurm/*.sbatch ../tools/check_deploy.sh
say shellcheck 'slurm/*.sbatch'

# Kinds of operators (kubeflow's MPIJob, LeaderWorkerSet) are not the API's own: their pods are.
# Scripts inside are checked as such.
"$python" - "$work" kubernetes/train.yaml kubernetes/serve-ranks.yaml <<'END'
import sys
import yaml

work, files = sys.argv[1], sys.argv[2:]


def pods_of(document):
    kind, api = document["kind"], document["apiVersion"]
    if kind == "MPIJob":
        assert api == "kubeflow.org/v2beta1"
        return {name: part["template"] for name, part in document["spec"]["mpiReplicaSpecs"].items()}
    assert kind == "LeaderWorkerSet" and api == "leaderworkerset.x-k8s.io/v1"
    template = document["spec"]["leaderWorkerTemplate"]
    assert template["size"] > 1 and template["restartPolicy"] == "RecreateGroupOnPodRestart"
    return {name: template[name + "Template"] for name in ("leader", "worker")}


class Plain(yaml.SafeDumper):
    def ignore_aliases(self, data):
        return True


def scripts_in(value):
    if isinstance(value, list) and value[:1] == ["bash"]:
        yield value[2]
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from scripts_in(part)


out, count = open(f"{work}/pods.yaml", "w"), 0
for file in files:
    for document in yaml.safe_load_all(open(file)):
        if document["apiVersion"].split("/")[0] in ("v1", "autoscaling"):
            parts = [document]
        else:
            parts = [{"apiVersion": "v1", "kind": "Pod",
                      "metadata": {**part.get("metadata", {}), "name": name.lower()}, "spec": part["spec"]}
                     for name, part in pods_of(document).items()]
        for part in parts:
            out.write("---\n" + yaml.dump(part, Dumper=Plain))
            for script in scripts_in(part):
                count += 1
                open(f"{work}/script{count}.sh", "w").write("#!/bin/bash\n" + script + "\n")
END
"$bin/kubernetes-validate" --strict --quiet kubernetes/serve.yaml kubernetes/ingress.yaml "$work/pods.yaml"
say kubernetes-validate 'serve.yaml, ingress.yaml; pods and services of train.yaml, serve-ranks.yaml'
"$bin/shellcheck" "$work"/script*.sh
say shellcheck 'scripts in serve-ranks.yaml'

# Merge keys of YAML are compose's, not JSON's.
"$python" -c 'import json, sys, yaml; json.dump(yaml.safe_load(open(sys.argv[1])), sys.stdout)' docker/compose.yaml > "$work/compose.json"
"$bin/check-jsonschema" --builtin-schema vendor.compose-spec "$work/compose.json" > /dev/null
say check-jsonschema docker/compose.yaml

"$bin/hadolint" docker/Dockerfile
say hadolint docker/Dockerfile

if command -v nginx > /dev/null; then
  for replicas in nginx docker; do
    printf 'pid %s/pid;\nerror_log stderr;\nevents {}\nhttp {\n  include %s/nginx/dure.conf;\n  include %s/%s/replicas.conf;\n}\n' \
      "$work" "$PWD" "$PWD" "$replicas" | sed "s#^#  #" > "$work/nginx.conf"
    sed "s#/var/log/nginx#$work#" nginx/dure.conf > "$work/dure.conf"
    sed -i "s#$PWD/nginx/dure.conf#$work/dure.conf#" "$work/nginx.conf"
    nginx -q -t -e stderr -c "$work/nginx.conf"
  done
  say 'nginx -t' 'dure.conf with both replicas.conf'
else
  say skipped 'nginx -t: there is no nginx (apt-get install nginx-light)'
fi

# What the program links must be in the image, or belong to what is.
if [ -x "$dure" ]; then
  # (dpkg knows some of them by their names before /usr was merged.)
  ldd "$dure" | awk '$3 ~ /^\// {print $3}' | xargs -n1 readlink -f | while read -r file; do
    dpkg -S "$file" 2> /dev/null || dpkg -S "${file#/usr}"
  done | cut -d: -f1 | sort -u > "$work/linked"
  missing=$(grep -vxF -f <(grep -oE '[a-z0-9.+-]+' docker/Dockerfile) "$work/linked" |
    grep -vxE 'libc6|libgcc-s1|libstdc\+\+6|libicu72|libbsd0|libmd0|libtinfo6|liblzma5|libgomp1' || true)
  [ -z "$missing" ] || { echo "deploy/docker/Dockerfile lacks: $missing" >&2; exit 1; }
  say packages "the image has what $dure links"
else
  say skipped "packages of the image: there is no $dure"
fi
