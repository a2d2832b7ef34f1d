/*++
/* NAME
/*	status 3
/* SUMMARY
/*	the status channel to master(8)
/* DESCRIPTION
/*	The channel is shared by all processes of a service. A report has
/*	twelve bytes: the process id that master(8) knows (that of the
/*	supervisor), the generation, and the state. Only end-of-file is
/*	ever read from the channel.
/*
/*	master(8) considers a process as available from its start. A
/*	process must not report itself as taken before it has accepted a
/*	connection: while a connection waits and no process is available,
/*	master(8) starts one process after the other.
/*
/*	A process that replaces one that has ended reports itself as
/*	available at its start, because the last report may have been
/*	"taken".
/* DIAGNOSTICS
/*	A report is dropped when the channel is full, because master(8)
/*	does not read: clients must not wait for that.
/* SEE ALSO
/*	postfix src/master/master_proto.h, src/master/master_proto.c
/*--*/

import type {Fd} from '../base/units.ts';
import {EAGAIN, errno, MSG_NOSIGNAL, read, send, setNonBlocking} from '../ffi/libc/libc.ts';
import {MASTER_STATUS_FD, notifyExit, notifySupervisor, type ParentProcess} from './parent-process.ts';

const MASTER_STAT_TAKEN = 0;
const MASTER_STAT_AVAIL = 1;

/**
 * Ends the process if the status channel has reached end-of-file before the process is ready. Clients wait for
 * another process, and master(8) does not start one while it considers this one as available.
 */
export function exitIfMasterGone(parentProcess: ParentProcess): void {
	setNonBlocking(MASTER_STATUS_FD);
	if (hasEnded(MASTER_STATUS_FD)) {
		notifyExit(parentProcess, 0);
		process.exit(0);
	}
}

function hasEnded(fd: Fd): boolean {
	const size = read(fd, new Uint8Array(128), 1);
	return size === 0 || (size < 0 && errno() !== EAGAIN);
}

/** The status channel of this process. */
export class StatusChannel {
	readonly #fd: Fd;
	readonly #parentProcess: ParentProcess;
	#hasAccepted = false;
	#reported = MASTER_STAT_AVAIL;

	/** @param fd - borrowed; it becomes non-blocking, for all processes that share it. */
	constructor(fd: Fd, parentProcess: ParentProcess) {
		this.#fd = fd;
		this.#parentProcess = parentProcess;
		setNonBlocking(fd);
		if (parentProcess.replacement) {
			this.#send(MASTER_STAT_AVAIL);
		}
	}

	/**
	 * Reports that the first connection has been accepted, as taken and available. After such a pair master(8)
	 * does not throttle the service when the process crashes. The supervisor is notified, too. Further calls have
	 * no effect.
	 */
	accepted(): void {
		if (!this.#hasAccepted) {
			this.#hasAccepted = true;
			this.#send(MASTER_STAT_TAKEN);
			this.#send(MASTER_STAT_AVAIL);
			notifySupervisor(this.#parentProcess, 'accepted');
		}
	}

	/** Reports whether the process is taken, if that has changed, and if a connection has been accepted before. */
	notify(taken: boolean): void {
		const state = taken ? MASTER_STAT_TAKEN : MASTER_STAT_AVAIL;
		if (this.#hasAccepted && state !== this.#reported && this.#send(state)) {
			this.#reported = state;
		}
	}

	/** Whether the channel has reached end-of-file: master(8) has ended, or has forgotten this process. */
	ended(): boolean {
		return hasEnded(this.#fd);
	}

	#send(state: number): boolean {
		const message = Buffer.alloc(12);
		message.writeInt32LE(this.#parentProcess.pid, 0);
		message.writeUInt32LE(this.#parentProcess.generation, 4);
		message.writeInt32LE(state, 8);
		return send(this.#fd, message, message.length, MSG_NOSIGNAL) === message.length;
	}
}
