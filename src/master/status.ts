/*++
/* NAME
/*	status 3
/* SUMMARY
/*	the status channel to master(8)
/* DESCRIPTION
/*	The channel is shared by all processes of a service. A report is
/*	twelve bytes: the process id that master(8) knows - that of the
/*	supervisor, not ours -, the generation, and the state. Nothing but
/*	its end ever comes back.
/*
/*	master(8) books a process as available when it starts it. The first
/*	report has to wait for the first connection: while somebody still
/*	waits and nobody is available, master(8) starts one process after
/*	the other.
/* DIAGNOSTICS
/*	A report that cannot be sent because master(8) does not read is
/*	dropped: no client may wait for that.
/* SEE ALSO
/*	postfix src/master/master_proto.h, src/master/master_proto.c
/*--*/

import type {Fd} from '../base/units.ts';
import {EAGAIN, errno, MSG_NOSIGNAL, read, send, setNonBlocking} from '../ffi/libc/libc.ts';
import {MASTER_STATUS_FD, notifyExit, type ParentProcess} from './parent-process.ts';

const MASTER_STAT_TAKEN = 0;
const MASTER_STAT_AVAIL = 1;

/**
 * Ends a process whose status channel has come to its end before it is ready: clients wait for its
 * successor, and master(8) starts none as long as it counts on this one.
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

/** Our end of the channel. */
export class StatusChannel {
	readonly #fd: Fd;
	readonly #parentProcess: ParentProcess;
	#works = false;
	#told = MASTER_STAT_AVAIL;

	/** @param fd - borrowed; it becomes non-blocking, for all that share it. */
	constructor(fd: Fd, parentProcess: ParentProcess) {
		this.#fd = fd;
		this.#parentProcess = parentProcess;
		setNonBlocking(fd);
	}

	/**
	 * Reports that the program works: a connection has been accepted. With the first pair of reports
	 * master(8) learns not to hold a crash against the whole service; more pairs say nothing new.
	 */
	works(): void {
		if (!this.#works) {
			this.#works = true;
			this.#send(MASTER_STAT_TAKEN);
			this.#send(MASTER_STAT_AVAIL);
		}
	}

	/** Reports whether this process is taken, if that is news and works() came before. */
	tell(taken: boolean): void {
		const state = taken ? MASTER_STAT_TAKEN : MASTER_STAT_AVAIL;
		if (this.#works && state !== this.#told && this.#send(state)) {
			this.#told = state;
		}
	}

	/** Whether the channel has come to its end: master(8) is gone, or knows us no more. */
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
