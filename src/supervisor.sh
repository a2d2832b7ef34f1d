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
#	The two are tied by one pipe, that of the command substitution
#	below. The worker holds its only writing end. When the worker ends,
#	or lets go of the pipe because it takes no more connections, the
#	substitution is complete: what the worker has said is the exit
#	status, and silence is a crash. When this program is killed, the
#	worker sees that nobody reads any more, and takes no more
#	connections either. No signal is sent to anybody: on some hosts
#	root may not signal processes of other users.
# SEE ALSO
#	master(8), Postfix master program
#--

home=${0%/*}/lib

# New objects live for one hand-off or as long as the process. The default is made for
# others: after a storm three spaces of 16 MB stayed. What is left of the start is
# released by the program itself, when it can say so.
flags='--expose-gc --max-semi-space-size=1'

word=$(
	exec 9>&1 >/dev/null </dev/null
	TLSPROXY_SUPERVISOR_PID=$$ TLSPROXY_SUPERVISOR_FD=9 TLSPROXY_KEEP='3 4 5 6 9' \
		"$home/node" --jitless $flags "$home/launch.js" "$@" &
)

case $word in
	0) exit 0 ;;
	*) exit 1 ;;
esac
