/*++
/* NAME
/*	launch 3
/* SUMMARY
/*	start of the worker, as its host allows
/* DESCRIPTION
/*	The supervisor starts this program, which finds out what cannot be
/*	changed any more when Node.js runs, and becomes the worker: the
/*	process, its descriptors and its arguments stay what they are.
/*
/*	Where memory must not be writable and executable (MemoryDenyWrite-
/*	Execute of systemd.exec(5), SELinux) V8 dies at its start. This
/*	program runs without machine code of its own (--jitless), tries,
/*	and has the worker do the same when that fails.
/*
/*	io_uring makes system calls that no filter sees. libuv asks for it
/*	at its start, so it is refused from here on.
/*
/*	The filter of a service manager may kill whoever calls seccomp(2).
/*	Where there is one, a process with nothing to lose tries. Without
/*	the call, the filter of the worker reaches its main thread only.
/* DIAGNOSTICS
/*	None: nothing that is tried here has to succeed, and a program
/*	that cannot be started is one whose supervisor gets no word.
/* SEE ALSO
/*	seccomp(3), filter(3), prctl(2)
/*--*/

import {join} from 'node:path';
import {
	clearCloseOnExec,
	MAP_ANONYMOUS,
	MAP_FAILED,
	MAP_PRIVATE,
	mmap,
	mprotect,
	munmap,
	PR_SET_NO_NEW_PRIVS,
	PROT_EXEC,
	PROT_READ,
	PROT_WRITE,
	prctl,
} from './ffi/libc.ts';
import {assemble, SECCOMP_RET_ALLOW} from './master/bpf.ts';
import {launcherRules} from './master/filter.ts';
import {filterThread, isFiltered, type Reach, trySeccomp} from './master/seccomp.ts';
import {thisArchitecture} from './master/syscalls.ts';
import type {Fd} from './units.ts';

/** V8 makes no machine code. The supervisor says so for this program. */
const JITLESS = '--jitless';

/** Set in the process that tries what may kill it. */
const TRIAL = 'TLSPROXY_TRIAL';

const arch = thisArchitecture();
if (process.env[TRIAL] !== undefined) {
	process.exit(arch !== undefined && trySeccomp(arch) ? 0 : 1);
}

/* The flags of the supervisor are for both. SIGUSR1 would have Node.js listen for a debugger. */
const flags = process.execArgv.filter(flag => flag !== JITLESS || !canWriteAndExecute());
flags.push('--disable-sigusr1');

const reach: Reach = isFiltered() && !seccompIsAllowed() ? 'thread' : 'process';
refuseUnseenCalls();
keepDescriptors();
process.execve?.(
	process.execPath,
	[process.execPath, ...flags, join(import.meta.dirname, 'main.js'), ...process.argv.slice(2)],
	{...process.env, TLSPROXY_SECCOMP: reach},
);

/* The way V8 does it: memory first, the right to execute it later. */
function canWriteAndExecute(): boolean {
	const size = 4096;
	const page = mmap(null, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page === MAP_FAILED) {
		return false;
	}

	const can = mprotect(page, size, PROT_READ | PROT_WRITE | PROT_EXEC) === 0;
	munmap(page, size);
	return can;
}

function seccompIsAllowed(): boolean {
	/* Loading it costs as much as all else that is done here, and is hardly ever needed. */
	const {spawnSync} = process.getBuiltinModule('node:child_process');
	const {status} = spawnSync(process.execPath, [JITLESS, import.meta.filename], {
		env: {...process.env, [TRIAL]: 'seccomp'},
		stdio: 'ignore',
	});
	return status === 0;
}

/* Root needs no promise, unless the service manager has taken away the right. */
function refuseUnseenCalls(): void {
	if (arch === undefined) {
		return;
	}

	const filter = assemble(arch, launcherRules(), SECCOMP_RET_ALLOW);
	if (filterThread(filter) !== undefined && prctl(PR_SET_NO_NEW_PRIVS, 1n, 0n, 0n, 0n) === 0) {
		filterThread(filter);
	}
}

/*
 * Node.js marks all descriptors that it finds at its start: no program that it starts
 * gets them. Those that the supervisor names are the worker's.
 */
function keepDescriptors(): void {
	for (const fd of process.env['TLSPROXY_KEEP']?.split(' ') ?? []) {
		clearCloseOnExec(Number(fd) as Fd);
	}
}
