/*++
/* NAME
/*	parent-process 3
/* SUMMARY
/*	descriptors and process ids that are inherited
/* DESCRIPTION
/*	master(8) starts a supervisor, and the supervisor starts this
/*	process. The descriptors of master(8) have fixed numbers. The
/*	supervisor adds two pipes. Through one of them this process sends
/*	requests, one line each. From the other it reads the command to
/*	terminate, or end-of-file when the supervisor has ended.
/* SEE ALSO
/*	postfix src/master/master_proto.h, supervisor.pl
/*--*/

import {Panic} from '../base/errors.ts';
import type {Fd} from '../base/units.ts';
import {setCloseOnExec, write} from '../ffi/libc/libc.ts';

/* Descriptors that master(8) leaves open. Source: postfix src/master/master_proto.h. */
const MASTER_FLOW_READ = 3 as Fd;
const MASTER_FLOW_WRITE = 4 as Fd;
/** The status channel, see status(3). */
export const MASTER_STATUS_FD = 5 as Fd;
/** The listening socket. */
export const MASTER_LISTEN_FD = 6 as Fd;

/** The pipes to and from the supervisor. */
export interface SupervisorPipes {
	/** Writable end of a pipe. */
	readonly toSupervisor: Fd;
	/** Readable end of a pipe. */
	readonly fromSupervisor: Fd;
}

/** The processes that started this one. */
export interface ParentProcess {
	/** The process id that master(8) knows: that of the supervisor, or of this process without one. */
	readonly pid: number;
	/** Generation number that master(8) has assigned. */
	readonly generation: number;
	/** Whether this process replaces another one of the same supervisor, which has ended. */
	readonly replacement: boolean;
	/** Undefined without a supervisor. */
	readonly supervisor: SupervisorPipes | undefined;
}

/**
 * Reads the environment variables of master(8) and the supervisor.
 *
 * @throws {Panic} when GENERATION is not octal: master(8) would not set it.
 */
export function parentProcessFrom(environment: NodeJS.ProcessEnv): ParentProcess {
	const generation = environment['GENERATION'] ?? '0';
	if (!/^[0-7]+$/.test(generation)) {
		throw new Panic(`bad generation: ${generation}`);
	}

	const [, pid, toSupervisor, fromSupervisor] =
		/^(\d+) (\d+) (\d+)$/.exec(environment['TLSPROXY_SUPERVISOR'] ?? '') ?? [];
	return {
		pid: Number(pid ?? process.pid),
		generation: Number.parseInt(generation, 8),
		replacement: environment['TLSPROXY_REPLACEMENT'] !== undefined,
		supervisor:
			pid === undefined
				? undefined
				: {toSupervisor: Number(toSupervisor) as Fd, fromSupervisor: Number(fromSupervisor) as Fd},
	};
}

/** Sets close-on-exec for the inherited descriptors. To be called before any program is started. */
export function setInheritedCloseOnExec({supervisor}: ParentProcess): void {
	const pipes = supervisor === undefined ? [] : [supervisor.toSupervisor, supervisor.fromSupervisor];
	for (const fd of [MASTER_FLOW_READ, MASTER_FLOW_WRITE, MASTER_STATUS_FD, MASTER_LISTEN_FD, ...pipes]) {
		setCloseOnExec(fd);
	}
}

/** Sends a request to the supervisor: one line of a name and a text. Does nothing without a supervisor. */
export function notifySupervisor({supervisor}: ParentProcess, name: string, text = ''): void {
	if (supervisor !== undefined) {
		const line = Buffer.from(`${name} ${text}`.trimEnd() + '\n');
		write(supervisor.toSupervisor, line, line.length);
	}
}

/** Sends the exit status to the supervisor, which treats any other end as a crash. */
export function notifyExit(parentProcess: ParentProcess, status: number): void {
	notifySupervisor(parentProcess, String(status));
}
