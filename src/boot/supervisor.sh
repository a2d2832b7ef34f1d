#!/bin/sh
#++
# NAME
#	tlsproxy 8
# SUMMARY
#	supervisor of the Postfix TLS proxy
# DESCRIPTION
#	master(8) starts this program, and this program starts the worker.
#	Node.js cannot fork(2), and a process that master(8) counts as
#	available blocks the service while it finishes its sessions after
#	a reload. So master(8) gets a process that can leave at once.
#
#	Two pipes tie the two together. On one the worker says a word in a
#	line; when it ends without, the pipe does, and the way in which it
#	ended tells why. On the other the worker reads that it has to end,
#	or that this program is gone: then it takes no more connections,
#	and ends with its last session. No signal is sent to the worker: on
#	some hosts root may not signal processes of other users.
#
#	What needs root and cannot wait is an errand: the program is run
#	once more, outside of the jail, with the same arguments.
# .IP 0
#	The worker takes no more connections: a successor is needed.
# .IP "a number other than 0"
#	The worker cannot serve.
# .IP "ready"
#	The worker has started. Until then its start is limited to 100
#	seconds, from then on its event loop is watched: see watchdog(3).
# .IP "check FILES"
#	Files have changed on disk. If they are good, this program ends,
#	so that a successor uses them; otherwise nothing changes.
# SECURITY
#	What the worker says can come from whoever has taken it over. The
#	names that it says are compared with those of the configuration,
#	and not used otherwise.
# FILES
#	pid/tlsproxy.PID.*, below the queue directory, while it starts
# SEE ALSO
#	master(8), Postfix master program
#--

home=${0%/*}/lib

# New objects live for one hand-off or as long as the process. The default is made for
# others: after a storm three spaces of 16 MB stayed. What is left of the start is
# released by the program itself, when it can say so. There is garbage for one thread,
# not for four, each of which has its memory. SIGUSR1 would have Node.js listen for a
# debugger. The program was compiled with these flags: see postfix/build.
flags='--expose-gc --max-semi-space-size=1 --v8-pool-size=1 --disable-sigusr1'

# Becomes Node.js, with what has to be settled before it runs: launch.pl has the story.
# Perl is there where Debian is, and takes a tenth of the time.
launch() {
	set -- "$home/node" $flags "$home/main.js" "$@"
	test -x /usr/bin/perl && exec /usr/bin/perl "$home/launch.pl" "$@"
	exec "$home/node" --jitless "$home/launch.js" "$@"
}

# Nobody listens on its descriptors: master(8) must not see the service through it.
errand() {
	TLSPROXY_ERRAND=$1 TLSPROXY_ERRAND_TEXT=$2
	shift 2
	export TLSPROXY_ERRAND TLSPROXY_ERRAND_TEXT
	launch "$@" 3<&- 4<&- 5<&- 6<&- &
	# A signal does not wait for the end of this.
	wait $!
}

pipes=pid/tlsproxy.$$
make() {
	mkfifo -m 600 "$pipes.up" "$pipes.down" "$pipes.offer"
}
remove() {
	rm -f "$pipes.up" "$pipes.down" "$pipes.offer"
}
# A process of the same number may have been ended before it has removed its own.
if make 2>/dev/null || { remove && make; }; then :; else
	errand fatal "cannot make pipes in $PWD/pid" "$@"
	exit 1
fi

# Who opens one end waits for the other, unless he opens both. 3 and 4 are
# master's flow control, which nobody here has to do with.
exec 8<>"$pipes.up" 3<"$pipes.up" 9>"$pipes.up" 8<&-
exec 8<>"$pipes.down" 4>"$pipes.down" 7<"$pipes.down" 8<&-
exec 8<>"$pipes.offer"
# What the worker will ask for first is printed while Node.js starts.
{ "$home/offer" 2>/dev/null 3<&- 4>&- 5<&- 6<&- 7<&- 8<&- 9>&- & } >"$pipes.offer"
offer=$!
exec 8<"$pipes.offer"

{
	TLSPROXY_SUPERVISOR="$$ 9 7" TLSPROXY_OFFER=8 TLSPROXY_KEEP='5 6 7 8 9'
	export TLSPROXY_SUPERVISOR TLSPROXY_OFFER TLSPROXY_KEEP
	launch "$@"
} 3<&- 4>&- &
worker=$!
late=', before a process was ready'
exec 7<&- 8<&- 9>&-

trap 'echo TERM >&4; trap - TERM; kill -TERM $$' TERM
remove

while read -r word text <&3; do
	case $word in
		0) exit 0 ;;
		ready)
			late=
			# It has done its work, and would remain as the shadow of a process.
			kill "$offer" 2>/dev/null
			wait "$offer"
			;;
		check) errand check "$text" "$@" && exit 0 ;;
		*) exit 1 ;;
	esac
done

# Two signals of the kernel's leave no time for words: SIGALRM, when the event loop has
# stood still, and SIGSYS, for a system call that the filter does not know.
wait "$worker"
case $? in
	142) errand fatal "watchdog timeout$late" "$@" ;;
	159) errand fatal "killed for a system call that a worker may not make" "$@" ;;
esac
exit 1
