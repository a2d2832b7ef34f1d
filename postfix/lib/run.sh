#++
# NAME
#	run 3
# SUMMARY
#	run a command with the Node.js runtime of the project
# SYNOPSIS
#	. "$(dirname -- "$0")/lib/run.sh"
#
#	run name status [argument ...]
# DESCRIPTION
#	The commands in the parent directory source this file. It sets home
#	to their directory, and defines the function run, which replaces
#	the shell by lib/NAME.ts. The runtime is that of the built program,
#	or else the one that npm has installed.
# DIAGNOSTICS
#	NAME: fatal: the program is not built; with the exit status that is
#	an argument.
#--

home=$(cd "$(dirname -- "$0")" && pwd -P) || exit 1

run() {
	name=$1
	status=$2
	shift 2
	for node in "$home/../dist/lib/node" "$home/../node_modules/.bin/node"; do
		test -x "$node" && exec "$node" "$home/lib/$name.ts" "$@"
	done
	echo "$name: fatal: the program is not built: run \"npm ci && npm run build\" in ${home%/*} first" >&2
	exit "$status"
}
