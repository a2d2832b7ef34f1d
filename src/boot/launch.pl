#++
# NAME
#	launch 1
# SUMMARY
#	start of the worker, as its host allows
# SYNOPSIS
#	perl launch.pl node flag ... program argument ...
# DESCRIPTION
#	Finds out what cannot be changed any more when Node.js runs, and
#	becomes the worker: the process, its descriptors and its arguments
#	stay what they are. launch(3) does the same where there is no Perl,
#	but a client waits for that: another Node.js takes as long as all
#	the rest of the start.
#
#	Where memory must not be writable and executable (MemoryDenyWrite-
#	Execute of systemd.exec(5), SELinux) V8 dies at its start. This
#	program tries, and has the worker do without machine code when
#	that fails.
#
#	io_uring makes system calls that no filter sees. libuv asks for it
#	at its start, so it is refused from here on.
#
#	The filter of a service manager may kill whoever calls seccomp(2).
#	Where there is one, a process with nothing to lose tries. Without
#	the call, the filter of the worker reaches its main thread only.
#
#	An alarm of 100 seconds limits the start of Node.js. It survives
#	exec(2), which a signal handler does not. The first thing that the
#	worker does is to replace it: see watchdog(3).
# DIAGNOSTICS
#	None: nothing that is tried here has to succeed, and a program
#	that cannot be started is one whose supervisor gets no word.
# BUGS
#	When a process is stopped while Node.js starts, and for longer than
#	100 seconds, the alarm ends it.
# SEE ALSO
#	launch(3), watchdog(3), prctl(2), seccomp(2)
#--

use strict;
use Config;

# Ten times what one command of Postfix may take, and the default of
# tlsproxy_watchdog_timeout.
alarm 100;

# Numbers of system calls, and that of the architecture in filters.
my ($mmap, $mprotect, $prctl, $seccomp, $architecture) =
    $Config{archname} =~ /^x86_64-/  ? (9, 10, 157, 317, 0xc000003e)
  : $Config{archname} =~ /^aarch64-/ ? (222, 226, 167, 277, 0xc00000b7)
  :                                    ();

my ($node, @words) = @ARGV;
$ENV{TLSPROXY_SECCOMP} = 'process';
if (defined $prctl) {
    unshift @words, '--jitless' unless can_write_and_execute();
    $ENV{TLSPROXY_SECCOMP} = 'thread' if is_filtered() && !seccomp_is_allowed();
    refuse_unseen_calls();
}

exec {$node} $node, @words;
exit 127;

# The way V8 does it: memory first, the right to execute it later.
sub can_write_and_execute {
    my ($address, $size) = (0x10000000, 65536);
    my ($read_write, $and_execute) = (3, 7);
    my $private_anonymous_fixed = 0x100022;
    syscall($mmap, $address, $size, $read_write, $private_anonymous_fixed, -1, 0);
    return syscall($mprotect, $address, $size, $and_execute) == 0;
}

sub is_filtered {
    my ($get_seccomp, $by_filter) = (21, 2);
    return syscall($prctl, $get_seccomp, 0, 0, 0, 0) == $by_filter;
}

# Asks whether a filter may allow calls: without effect, but not without the call.
sub seccomp_is_allowed {
    my $child = fork;
    return 0 unless defined $child;
    if ($child == 0) {
        my ($get_action_avail, $allow) = (2, pack('L', 0x7fff0000));
        exit(syscall($seccomp, $get_action_avail, 0, $allow) == 0 ? 0 : 1);
    }

    waitpid $child, 0;
    return $? == 0;
}

# Root needs no promise, unless the service manager has taken away the right.
sub refuse_unseen_calls {
    my ($io_uring_setup, $enosys) = (425, 38);
    my ($load, $equal, $return) = (0x20, 0x15, 0x06);
    my ($number_at, $architecture_at) = (0, 4);
    my ($allow, $fail) = (0x7fff0000, 0x00050000);
    my $filter = pack '(SCCL)6',
        $load,   0, 0, $architecture_at,
        $equal,  0, 3, $architecture,
        $load,   0, 0, $number_at,
        $equal,  0, 1, $io_uring_setup,
        $return, 0, 0, $fail | $enosys,
        $return, 0, 0, $allow;
    my $program = pack 'S x![P] P', 6, $filter;
    my ($set_seccomp, $by_filter, $no_new_privs) = (22, 2, 38);
    syscall($prctl, $set_seccomp, $by_filter, $program, 0, 0) == 0
        or syscall($prctl, $no_new_privs, 1, 0, 0, 0) == 0
        && syscall($prctl, $set_seccomp, $by_filter, $program, 0, 0);
}
