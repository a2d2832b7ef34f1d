#++
# NAME
#	supervisor 1
# SUMMARY
#	supervisor of the worker, in Perl
# SYNOPSIS
#	perl supervisor.pl program argument ...
# DESCRIPTION
#	master(8) executes dist/tlsproxy, and that executes this program,
#	with the same process ID. It starts the worker, a Node.js process,
#	and blocks in select(2) until the worker sends a line, writes to
#	standard error or ends. An idle supervisor is never woken up.
#
#	Supervisor and worker are connected by three unnamed pipes. On the
#	first one the worker sends requests, one line each. On the second
#	one it reads the command to terminate, or end-of-file when the
#	supervisor has ended; then it accepts no more connections, and ends
#	after its last session. The third one is its standard error. The
#	worker receives no signal: on some hosts root must not signal the
#	processes of other users.
#
#	Requests of the worker:
# .IP 0
#	The worker accepts no more connections. The supervisor ends, so
#	that master(8) can start a successor.
# .IP "another number"
#	The worker has logged why it cannot serve, and ends with this
#	status.
# .IP ready
#	The worker has started. Before, its start is limited to 100 seconds;
#	afterwards its event loop has a watchdog.
# .IP accepted
#	The worker has accepted its first connection.
# .IP "check FILES"
#	Credential files have changed. They are checked by the program, as
#	root, in another process. If they are usable, the supervisor ends,
#	so that the next process uses them.
# END OF A WORKER
#	The cause is logged as master(8) does, with the message that the
#	worker wrote to standard error. Then a new worker is started
#	immediately, in the same supervisor: if a supervisor ends before it
#	has served a client, master(8) throttles the service for a minute.
#	A worker that has accepted a connection is replaced each time. When
#	the replacement ends before it has accepted one, the supervisor ends
#	with status 1.
#
#	When no worker gets ready, the supervisor executes the tlsproxy(8)
#	program of Postfix in daemon_directory, unless the service argument
#	fallback=no is given. That process ends after 100 sessions or 100
#	seconds without a session, and the next process of the service
#	tries this program again. A fatal error that the worker has logged,
#	and a start that reached its time limit, would happen again: then
#	there is no second attempt.
#
#	master(8) counts this process as available while a replacement
#	starts. After three seconds the supervisor reports itself as taken,
#	so that master(8) starts another process when a client waits. The
#	replacement reports itself as available.
# DIAGNOSTICS
#	Logged with postlog(1), because Node.js may be what fails.
# SECURITY
#	The supervisor remains root, and the worker can be controlled by an
#	attacker. An unknown, repeated or overlong line ends the worker.
#	Checks take at most a tenth of the time, only configured files are
#	checked, and 8 KB of standard error are kept. All programs are
#	executed by absolute path.
# BUGS
#	-V: the worker writes to the standard error of master(8), so that
#	its last message is missing from the cause of its end.
#
#	A SIGTERM that arrives in the instant before select(2) takes effect
#	at the next event.
# SEE ALSO
#	supervisor.sh, does less, without Perl
#	launch.pl, start of Node.js
#	event-server(3), the other end of the pipes
#--

use strict;

# The modules that define these numbers take more time and memory than the rest of this program.
my ($F_SETFD, $WNOHANG, $EINTR, $EAGAIN) = (2, 1, 4, 11);
my ($SIGALRM, $SIGSYS) = (14, 31);

# Length of a request, in bytes. File names come as one environment variable to the check: execve(2) permits 128 KB.
my $LINE_LIMIT = 65536;
# Requests that may arrive before a check starts. The program makes one per second.
my $CHECK_LIMIT = 1000;
# Seconds until a check that could not be started is tried again.
my $RETRY_DELAY = 10;
# More seconds than a check can take.
my $CHECK_TIME = 1000;
# Standard error of the worker: the part that is kept, and the amount after which it is closed, in bytes.
my $OUTPUT_KEPT = 8192;
my $OUTPUT_LIMIT = 1 << 20;
# Seconds after which a process without a ready worker is not available.
my $TAKEN_DELAY = 3;
# Seconds for a worker to release the listening socket after a reload.
my $RELEASE_DELAY = 3;

my ($program, @arguments) = @ARGV;
my ($home) = __FILE__ =~ m{^(.*)/};
my @flags = split ' ', delete($ENV{TLSPROXY_FLAGS}) || '';
my $supervisor = $$;
my $command_line = parse(@arguments);

# Descriptors of master(8): flow control, status channel, listening socket. Perl sets close-on-exec.
my %inherited;
for my $number (3 .. 6) {
    my $handle;
    $inherited{$number} = $handle if open $handle, '+<&=', $number;
}

# Seconds left until the deadlines "taken", "check" and "release". select(2) reports how much time has passed.
my %timers;
my ($worker, $check);
# JSON strings: names of files that wait for a check.
my %changed;
my $status_channel = $inherited{5};
my $may_restart = 1;
my $workers = 0;

$SIG{TERM} = sub {
    local $SIG{PIPE} = 'IGNORE';
    syswrite $worker->{control}, "TERM\n" if $worker && $worker->{control};
    $SIG{TERM} = 'DEFAULT';
    kill 'TERM', $$;
};

start_worker();
serve() while 1;

# Waits for an event, and handles it.
sub serve {
    return worker_has_ended() if $worker->{failed};
    my @handles = grep { defined } $worker->{requests}, $worker->{errors}, $check && $check->{end}, $status_channel;
    my $readable = '';
    vec($readable, fileno $_, 1) = 1 for @handles;
    my ($next) = sort { $a <=> $b } values %timers;
    my ($found, $left) = select $readable, undef, undef, $next;
    if (defined $next) {
        $_ -= $next - $left for values %timers;
    }

    my $is_readable = sub { $found > 0 && defined $_[0] && vec $readable, fileno $_[0], 1 };
    my $has_ended = 0;
    read_errors($worker) if $is_readable->($worker->{errors});
    $has_ended = !read_requests($worker) if $is_readable->($worker->{requests});
    end_check() if $check && $is_readable->($check->{end});
    end_of_service() if $is_readable->($status_channel) && is_at_end($status_channel);
    worker_has_ended() if $has_ended;
    expire();
}

sub expire {
    exit 0 if exists $timers{release} && $timers{release} <= 0;
    if (exists $timers{taken} && $timers{taken} <= 0) {
        delete $timers{taken};
        report_taken();
    }

    if (exists $timers{check} && $timers{check} <= 0) {
        delete $timers{check};
        start_check() if !$check && %changed;
    }
}

# Nothing but end-of-file is ever received: master(8) has ended, or was reloaded.
sub is_at_end {
    my $count = sysread $_[0], my $bytes, 1;
    return defined $count ? $count == 0 : $! != $EAGAIN && $! != $EINTR;
}

# A worker that is not ready has no sessions, and no client waits for this process any more.
sub end_of_service {
    exit 0 unless $worker->{ready};
    undef $status_channel;
    $timers{release} = $RELEASE_DELAY;
}

# Starts a worker.
sub start_worker {
    my $is_replacement = $workers++ > 0;
    $worker = {request => '', output => '', output_size => 0, number => $workers};
    pipe($worker->{requests}, my $to_supervisor) && pipe(my $from_supervisor, $worker->{control})
        or return not_started("cannot create pipes: $!");
    pipe($worker->{errors}, my $stderr) or return not_started("cannot create pipes: $!");
    pipe($worker->{prefetched}, my $printed) or delete $worker->{prefetched};
    my $pid = fork;
    return not_started("cannot fork: $!") unless defined $pid;
    if ($pid == 0) {
        $SIG{TERM} = 'DEFAULT';
        $ENV{TLSPROXY_SUPERVISOR} = join ' ', $supervisor, fileno $to_supervisor, fileno $from_supervisor;
        $ENV{TLSPROXY_REPLACEMENT} = 1 if $is_replacement;
        $ENV{TLSPROXY_PREFETCHED} = fileno $worker->{prefetched} if $worker->{prefetched};
        inherit(grep { defined } @inherited{5, 6}, $to_supervisor, $from_supervisor, $worker->{prefetched});
        open STDERR, '>&', $stderr unless $command_line->{stderr};
        launch();
    }

    $worker->{pid} = $pid;
    if ($worker->{prefetched}) {
        close delete $worker->{prefetched};
        start_prefetch($printed);
    }

    $timers{taken} = $TAKEN_DELAY if $is_replacement;
}

sub not_started {
    $worker->{failed} = $_[0];
}

# Becomes Node.js. See launch.pl.
sub launch {
    @ARGV = ("$home/node", @flags, "$home/main.js", @arguments);
    do "$home/launch.pl";
    print STDERR "cannot execute $home/launch.pl: ", $@ || $!, "\n";
    exit 127;
}

# Removes close-on-exec.
sub inherit {
    fcntl $_, $F_SETFD, 0 for @_;
}

# Prints the output of postconf(1) while Node.js starts. Without it, the worker executes postconf(1).
sub start_prefetch {
    my ($printed) = @_;
    $worker->{prefetch} = fork;
    if (defined $worker->{prefetch} && $worker->{prefetch} == 0) {
        $SIG{TERM} = 'DEFAULT';
        open STDOUT, '>&', $printed;
        exec {"$home/offer"} "$home/offer";
        exit 127;
    }
}

sub end_prefetch {
    my $pid = delete $worker->{prefetch} or return;
    kill 'TERM', $pid;
    waitpid $pid, 0;
}

# Keeps the end of what the worker writes.
sub read_errors {
    my ($from) = @_;
    my $count = sysread $from->{errors}, $from->{output}, 4096, length $from->{output};
    return 1 if !defined $count && $! == $EINTR;
    $from->{output_size} += $count || 0;
    if (!$count || $from->{output_size} > $OUTPUT_LIMIT) {
        close delete $from->{errors};
        return 0;
    }

    my $excess = length($from->{output}) - $OUTPUT_KEPT;
    substr($from->{output}, 0, $excess) = '' if $excess > 0;
    return 1;
}

# Returns false when the worker has ended, or must end.
sub read_requests {
    my ($from) = @_;
    my $count = sysread $from->{requests}, $from->{request}, 4096, length $from->{request};
    return !defined $count && $! == $EINTR unless $count;
    while ($from->{request} =~ s/^([^\n]*)\n//) {
        return violation($from) unless request($from, $1);
    }

    return length $from->{request} <= $LINE_LIMIT || violation($from);
}

# Handles a request. Returns false for one that the program does not send.
sub request {
    my ($from, $line) = @_;
    exit 0 if $line eq '0';
    if ($line =~ /^[1-9]\d{0,2}$/) {
        return !$from->{status}++;
    }

    if ($line eq 'ready') {
        return 0 if $from->{ready}++;
        delete $timers{taken};
        end_prefetch();
        return 1;
    }

    if ($line eq 'accepted') {
        return 0 if $from->{accepted}++;
        $may_restart = 1;
        return 1;
    }

    return $line =~ /^check (.*)/ && request_check($from, $1);
}

sub violation {
    my ($from) = @_;
    $from->{violation} = 1;
    end_process($from->{pid});
    return 0;
}

# Several requests that wait are one check. The names are a JSON list. This does not backtrack, for any input.
sub request_check {
    my ($from, $names) = @_;
    return 0 if ++$from->{checks} > $CHECK_LIMIT;
    $changed{$1} = 1 while $names =~ /\G[\[,]("(?:[^"\\]++|\\.)*+")/gc;
    return 0 if $names !~ /\G\]$/gc || length names() > $LINE_LIMIT;
    start_check() unless $check || exists $timers{check};
    return 1;
}

sub names {
    return '[' . join(',', sort keys %changed) . ']';
}

sub start_check {
    $timers{check} = $RETRY_DELAY;
    pipe(my $end, my $held) or return;
    my $pid = fork;
    return unless defined $pid;
    if ($pid == 0) {
        $SIG{TERM} = 'DEFAULT';
        $ENV{TLSPROXY_REQUEST} = 'check';
        $ENV{TLSPROXY_REQUEST_TEXT} = names();
        open STDOUT, '>&', $held;
        launch();
    }

    $worker->{checks} = 0;
    $check = {pid => $pid, end => $end, worker => $worker->{number}};
    %changed = ();
    # Measures the time that the check takes.
    $timers{check} = $CHECK_TIME;
}

# A check that has succeeded is a reason to end for the worker that requested it.
sub end_check {
    waitpid $check->{pid}, 0;
    exit 0 if $? == 0 && $check->{worker} == $worker->{number};
    undef $check;
    $timers{check} = 1 + 9 * ($CHECK_TIME - ($timers{check} || 0));
}

# The pipe of the worker is at its end.
sub worker_has_ended {
    my $ended = $worker;
    end_prefetch();
    my $status = defined $ended->{pid} ? reap($ended->{pid}) : undef;
    while ($ended->{errors}) {
        my $readable = '';
        vec($readable, fileno $ended->{errors}, 1) = 1;
        last if select($readable, undef, undef, 0) < 1 || !read_errors($ended);
    }

    %changed = ();
    my ($level, $cause) = cause($ended, $status);
    # The worker has logged the cause of a status that it has sent.
    my $log = sub { $ended->{status} ? undef : log_line($level, $cause) };
    if (exists $timers{release}) {
        wait_for($log->());
        exit 0;
    }

    my $is_final = !$ended->{ready} && ($ended->{status} || killed_by($status) == $SIGALRM);
    if ($may_restart && !$is_final) {
        $may_restart = 0;
        start_worker();
        $log->();
        return;
    }

    wait_for($log->());
    become_stock($ended->{status} ? 'fatal error, see above' : $cause) unless $ended->{ready};
    exit 1;
}

sub killed_by {
    my ($status) = @_;
    return defined $status ? $status & 127 : 0;
}

# Waits for the end of a process that has closed its pipe. It should be a matter of milliseconds.
sub reap {
    my ($pid) = @_;
    for my $attempt (1 .. 300) {
        return $? if waitpid($pid, $WNOHANG) == $pid;
        end_process($pid) if $attempt == 100;
        select undef, undef, undef, 0.01;
    }

    return undef;
}

# Without CAP_KILL, only a process of the same user can signal the worker.
sub end_process {
    my ($pid) = @_;
    return if kill 'KILL', $pid;
    my ($uid, $gid) = (stat "/proc/$pid")[4, 5];
    my $child = $uid ? fork : undef;
    return unless defined $child;
    if ($child == 0) {
        $SIG{TERM} = 'DEFAULT';
        ($(, $)) = ($gid, "$gid $gid");
        ($<, $>) = ($uid, $uid);
        kill 'KILL', $pid;
        exit 0;
    }

    waitpid $child, 0;
}

# Level and text of the log line about the end of a worker, in the style of master(8).
sub cause {
    my ($ended, $status) = @_;
    my $signal = killed_by($status);
    if ($signal == $SIGALRM) {
        return ('fatal', 'watchdog timeout' . ($ended->{ready} ? '' : ', before a process was ready'));
    }

    if ($signal == $SIGSYS) {
        return ('fatal', 'killed for a system call that a worker may not make');
    }

    return ('warning', "cannot start a process of $program: $ended->{failed}") if $ended->{failed};
    my $process = "process $program pid $ended->{pid}";
    if ($ended->{violation}) {
        return ('warning', "$process sent a request that this program does not make, and was killed");
    }

    my $end = !defined $status ? 'does not end' : $signal ? "killed by signal $signal" : 'exit status ' . ($status >> 8);
    my $message = message($ended->{output});
    return ('warning', "$process $end" . ($message eq '' ? '' : ": $message"));
}

# The line that names the reason: of V8, of the dynamic linker, of an exception; otherwise the last one.
sub message {
    my ($output) = @_;
    for my $pattern (
        qr/^(FATAL ERROR: .*)/m,
        qr/^# +((?:Fatal|Check failed|Debug check failed).*)/m,
        qr/^(.*error while loading shared libraries: .*)/m,
        qr/^(\w*Error\b.*)/m,
        qr/^(.*\S.*)\s*\z/m,
      ) {
        return $1 if $output =~ $pattern;
    }

    return '';
}

# Executes the program of Postfix. Returns when that is not possible, or not wanted.
sub become_stock {
    my ($cause) = @_;
    return if !$command_line->{options} || $command_line->{no_fallback};
    my @directories = (parameter('daemon_directory'), qw(/usr/lib/postfix/sbin /usr/libexec/postfix));
    my ($stock) = grep { is_binary($_) } map { "$_/tlsproxy" } grep { defined } @directories;
    if (!defined $stock) {
        wait_for(log_line('warning', 'daemon_directory has no tlsproxy(8) program of Postfix to use instead'));
        return;
    }

    my $repair =
        $cause =~ /^fatal/                                 ? 'correct the error'
      : $cause =~ /^watchdog/                              ? 'find out why a start takes so long'
      : $cause =~ /memory|alloc|map segment|cannot fork/i  ? 'raise the memory limit of Postfix'
      : $cause =~ /shared librar/                          ? 'install the missing library'
      : $cause =~ /signal \d+$/                            ? 'raise the memory limit of Postfix, or install this program again'
      :                                                      'install this program again';
    wait_for(log_line('warning',
        "using $stock, because $program cannot start: $cause. To repair this, $repair."
          . ' The next process tries again after 100 sessions or 100 seconds without a session'));
    inherit(values %inherited);
    exec {$stock} 'tlsproxy', @{$command_line->{options}}, '-z', @{$command_line->{limits}};
}

# This program may be registered under the name of the other one: that is a script.
sub is_binary {
    my ($file) = @_;
    -x $file && open my $handle, '<', $file or return 0;
    sysread $handle, my $magic, 4;
    return $magic eq "\x7fELF";
}

# The options, without service arguments; undefined if the other program would not accept them either.
sub parse {
    my @rest = @_;
    my %found = (tag => ($ENV{MAIL_LOGTAG} || 'postfix'), limits => [qw(-o max_use=100 -o max_idle=100s)]);
    while (@rest && $rest[0] =~ /^-(.+)/s) {
        my $letters = $1;
        shift @rest;
        last if $letters eq '-';
        while ($letters =~ s/^(.)//s) {
            my $letter = $1;
            if ($letter =~ /[imnorst]/) {
                my $value = $letters ne '' ? $letters : shift @rest;
                return \%found unless defined $value;
                $value = "max_use=$value" if $letter =~ /[im]/;
                $found{tag} = $1 if $value =~ /^\s*syslog_name\s*=\s*([^\s\$]+)\s*$/;
                # An error in an option is not hidden by a later option.
                $found{limits} = [] if $value =~ /^\s*max_(?:use|idle)\s*=(?!\s*[1-9]\d{0,8}[smhdw]?\s*$)/;
                last;
            }

            return \%found unless $letter =~ /[cdDlSuvVz]/;
            $found{stderr} = 1 if $letter eq 'V';
        }
    }

    $found{options} = [@_[0 .. $#_ - @rest]];
    pop @{$found{options}} if @{$found{options}} && $found{options}[-1] eq '--';
    for my $argument (@rest) {
        $found{no_fallback} = lc $1 eq 'no' if $argument =~ /^\s*fallback\s*=\s*(\S*)\s*$/;
    }

    return \%found;
}

# Value of a parameter of main.cf.
sub parameter {
    my ($name) = @_;
    my ($postconf) = grep { -x } qw(/usr/sbin/postconf /usr/local/sbin/postconf);
    my $pid = defined $postconf ? open my $output, '-|' : undef;
    return undef unless defined $pid;
    if ($pid == 0) {
        $SIG{TERM} = 'DEFAULT';
        alarm 20;
        exec {$postconf} $postconf, '-hx', $name;
        exit 127;
    }

    my $value = readline $output;
    close $output;
    chomp $value if defined $value;
    return defined $value && $value =~ m{^/} ? $value : undef;
}

# Logs with postlog(1). Returns a pipe that is at its end when that is done.
sub log_line {
    my ($level, $text) = @_;
    $text =~ tr/\x20-\x7e/?/c;
    $text = substr $text, 0, 1000;
    pipe(my $end, my $held) or return;
    my $child = fork;
    return unless defined $child;
    if ($child == 0) {
        $SIG{TERM} = 'DEFAULT';
        # Not a child of this process: that may become a program that does not expect one.
        exit 0 if fork;
        alarm 20;
        my $directory = parameter('command_directory') || '/usr/sbin';
        inherit($held);
        exec {"$directory/postlog"} "$directory/postlog", '-p', $level, '-t', "$command_line->{tag}/tlsproxy", $text;
        exit 127;
    }

    waitpid $child, 0;
    return $end;
}

# Keeps log lines in order. Not for long: postlogd(8) may not work.
sub wait_for {
    my ($end) = @_;
    return unless $end;
    my $readable = '';
    vec($readable, fileno $end, 1) = 1;
    select $readable, undef, undef, 1;
}

# master(8) starts another process when a client waits and no process is available.
sub report_taken {
    my ($generation, $taken) = (oct $ENV{GENERATION} || 0, 0);
    syswrite $inherited{5}, pack('lLl', $$, $generation, $taken) if $inherited{5};
}
