# For the scripts that build images (docker/trainer/build, docker/airflow/build): what is the same for each of them.

# need_digest BASE: warns of a base image that is named by a tag; PINNED=1 refuses it. An image of this machine (localhost/…) needs none.
need_digest() {
  if [[ "$1" != localhost/* && ! "$1" =~ @sha256:[0-9a-f]{64}$ ]]; then
    echo "the base image $1 is named by a tag, which can be moved: name it by its digest, BASE=${1%%:*}@sha256:…" >&2
    [ -z "${PINNED:-}" ] || exit 2
  fi
}

# find_builder: the program that builds, BUILDER or the first of docker, podman and buildah that works here (docker has a daemon).
find_builder() {
  builder=${BUILDER:-}
  local name
  for name in docker podman buildah; do [ -n "$builder" ] || ! "$name" info >/dev/null 2>&1 || builder=$name; done
  [ -n "$builder" ] || { echo "no docker, podman or buildah that works here: install one of them, or name it with BUILDER" >&2; exit 1; }
}

# download_wheels FOLDER ARCH PYTHON_VERSION PIP_OPTION…: of Linux on that processor, for that Python, whatever runs here.
download_wheels() {
  local folder=$1 arch=$2 version=$3
  shift 3
  "${PYTHON:-python3}" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
    --implementation cp --python-version "$version" --platform "manylinux_2_28_$arch" --platform "manylinux2014_$arch" \
    --platform "manylinux_2_27_$arch" --platform "manylinux_2_17_$arch" --dest "$folder" "$@"
}

# source_commit PATH…: HEAD's, with -dirty when one of the paths has changes that are in no commit.
source_commit() {
  local commit
  commit=$(git rev-parse HEAD 2>/dev/null || echo unknown)
  git diff --quiet HEAD -- "$@" 2>/dev/null || commit=$commit-dirty
  echo "$commit"
}

# build_image BUILDER FOLDER OPTION…: with the folder's Dockerfile and its list of what is sent to the build.
build_image() {
  local builder=$1 folder=$2
  shift 2
  set -- --file "$folder/Dockerfile" "$@"
  case $builder in
    *buildah) set -- --isolation chroot --ignorefile "$folder/Dockerfile.dockerignore" --timestamp 0 --layers "$@" ;;
  esac
  "$builder" build "$@" .
}
