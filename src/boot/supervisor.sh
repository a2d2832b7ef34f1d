#!/bin/sh
#++
# NAME
#	tlsproxy 8
# SUMMARY
#	supervisor of the Postfix TLS proxy
# DESCRIPTION
#	master(8) executes this program. With Perl it executes
#	supervisor.pl, which describes the tasks of a supervisor; the
#	process ID stays the same. Debian always has Perl (perl-base).
#
#	Without Perl (minimal images of Red Hat) this script is the
#	supervisor, and does less. Node.js cannot fork(2), and a process
#	that master(8) counts as available blocks the service while it
#	finishes its sessions after a reload. So the worker is started by a
#	process that can end immediately.
#
#	Two pipes connect the two. On the first one the worker sends
#	requests, one line each, as described in supervisor.pl. On the
#	second one it reads the command to terminate, or end-of-file when
#	the supervisor has ended.
# BUGS
#	Without Perl:
#
#	When a worker ends, the supervisor ends with status 1. No worker
#	replaces it, the tlsproxy(8) program of Postfix is not used, and
#	the cause is logged for SIGALRM and SIGSYS only.
#
#	The pipes are named: a process cannot start if no files can be
#	created in the directory pid/ of the queue.
#
#	The input from the worker, and the number of checks, are not
#	limited.
# SECURITY
#	A worker can be controlled by an attacker. The names that it sends
#	are only compared with those of the configuration.
# FILES
#	pid/tlsproxy.PID.*, below the queue directory, while it starts
# SEE ALSO
#	supervisor.pl, master(8)
#--

home=${0%/*}/lib

# --max-semi-space-size: most objects live for one hand-off or as long as the process.
# With the default, three semi-spaces of 16 MB remain after a burst of connections.
# --expose-gc: the program releases the memory of its start. --v8-pool-size: one thread
# is enough for this amount of garbage. --disable-sigusr1: this signal must not start the
# debugger. The code cache is made with the same flags: see postfix/build.
flags='--expose-gc --max-semi-space-size=1 --v8-pool-size=1 --disable-sigusr1'

if test -x /usr/bin/perl && test -r "$home/supervisor.pl"; then
	export TLSPROXY_FLAGS="$flags"
	exec /usr/bin/perl "$home/supervisor.pl" "$0" "$@"
fi

# Becomes Node.js.
launch() {
	exec "$home/node" --jitless "$home/launch.js" "$home/node" $flags "$home/main.js" "$@"
}

# Runs the program for another purpose than to serve, without the descriptors of master(8).
request() {
	TLSPROXY_REQUEST=$1 TLSPROXY_REQUEST_TEXT=$2
	shift 2
	export TLSPROXY_REQUEST TLSPROXY_REQUEST_TEXT
	launch "$@" 3<&- 4<&- 5<&- 6<&- &
	# Unlike a command in the foreground, this can be interrupted by a signal.
	wait $!
}

pipes=pid/tlsproxy.$$
make_pipes() {
	mkfifo -m 600 "$pipes.up" "$pipes.down" "$pipes.prefetched"
}
remove_pipes() {
	rm -f "$pipes.up" "$pipes.down" "$pipes.prefetched"
}
# Pipes of a process with the same ID can remain when that was killed.
if make_pipes 2>/dev/null || { remove_pipes && make_pipes; }; then :; else
	request fatal "cannot make pipes in $PWD/pid" "$@"
	exit 1
fi

# open(2) of one end waits for the other end, except with O_RDWR. Descriptors 3 and 4 are
# the flow control of master(8), which is not used here.
exec 8<>"$pipes.up" 3<"$pipes.up" 9>"$pipes.up" 8<&-
exec 8<>"$pipes.down" 4>"$pipes.down" 7<"$pipes.down" 8<&-
exec 8<>"$pipes.prefetched"
# Prints the output of postconf(1) while Node.js starts.
{ "$home/offer" 2>/dev/null 3<&- 4>&- 5<&- 6<&- 7<&- 8<&- 9>&- & } >"$pipes.prefetched"
prefetch=$!
exec 8<"$pipes.prefetched"

{
	TLSPROXY_SUPERVISOR="$$ 9 7" TLSPROXY_PREFETCHED=8 TLSPROXY_INHERITED='5 6 7 8 9'
	export TLSPROXY_SUPERVISOR TLSPROXY_PREFETCHED TLSPROXY_INHERITED
	launch "$@"
} 3<&- 4>&- &
worker=$!
when=', before a process was ready'
exec 7<&- 8<&- 9>&-

trap 'echo TERM >&4; trap - TERM; kill -TERM $$' TERM
remove_pipes

while read -r request text <&3; do
	case $request in
		0) exit 0 ;;
		ready)
			when=
			# Reap it; otherwise it stays a zombie.
			kill "$prefetch" 2>/dev/null
			wait "$prefetch"
			;;
		accepted) ;;
		check) request check "$text" "$@" && exit 0 ;;
		*) exit 1 ;;
	esac
done

# Two signals of the kernel: SIGALRM when the event loop was blocked, and SIGSYS for a
# system call that the filter does not permit.
wait "$worker"
case $? in
	142) request fatal "watchdog timeout$when" "$@" ;;
	159) request fatal "killed for a system call that a worker may not make" "$@" ;;
esac
exit 1
