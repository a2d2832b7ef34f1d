/*++
/* NAME
/*	session-watchers 3
/* SUMMARY
/*	watchers of the two descriptors of a session
/* DESCRIPTION
/*	A session watches two descriptors: plaintext is the connection to
/*	the local client, ciphertext the connection to the remote peer. A
/*	watcher passes readiness to the session, with the name of the
/*	descriptor, and exceptions to the session's fault(). It has one
/*	field, and lives as long as the session.
/* SEE ALSO
/*	reactor(3), session(3)
/*--*/

import type {Watcher} from '../event/reactor.ts';

/** The receiver of readiness: a session. */
export interface ReadinessHandler {
	/** The descriptor of the local client has become ready. */
	plaintextReady(readable: boolean, writable: boolean): void;
	/** The descriptor of the remote peer has become ready. */
	ciphertextReady(readable: boolean, writable: boolean): void;
	/** One of the other two has thrown. */
	fault(reason: unknown): void;
}

abstract class SessionWatcher implements Watcher {
	protected readonly handler: ReadinessHandler;

	constructor(handler: ReadinessHandler) {
		this.handler = handler;
	}

	abstract ready(readable: boolean, writable: boolean): void;

	fault(reason: unknown): void {
		this.handler.fault(reason);
	}
}

/** Watches the descriptor of the local client. */
export class PlaintextWatcher extends SessionWatcher {
	ready(readable: boolean, writable: boolean): void {
		this.handler.plaintextReady(readable, writable);
	}
}

/** Watches the descriptor of the remote peer. */
export class CiphertextWatcher extends SessionWatcher {
	ready(readable: boolean, writable: boolean): void {
		this.handler.ciphertextReady(readable, writable);
	}
}
