/*++
/* NAME
/*	sides 3
/* SUMMARY
/*	the two descriptors of a session, as the reactor sees them
/* DESCRIPTION
/*	A session watches two descriptors, and what readiness means
/*	depends on whose it is. Each has an object of one field, for as
/*	long as the session lasts; what a side throws is the fault of its
/*	session.
/* SEE ALSO
/*	reactor(3), session(3)
/*--*/

import type {Watcher} from '../event/reactor.ts';

/** What has two sides. */
export interface TwoSided {
	/** The client's descriptor has become ready. */
	plaintextReady(readable: boolean, writable: boolean): void;
	/** The peer's descriptor has become ready. */
	ciphertextReady(readable: boolean, writable: boolean): void;
	/** A call for one of them threw. */
	fault(reason: unknown): void;
}

abstract class Side implements Watcher {
	protected readonly of: TwoSided;

	constructor(of: TwoSided) {
		this.of = of;
	}

	abstract ready(readable: boolean, writable: boolean): void;

	fault(reason: unknown): void {
		this.of.fault(reason);
	}
}

/** The client's side. */
export class PlaintextSide extends Side {
	ready(readable: boolean, writable: boolean): void {
		this.of.plaintextReady(readable, writable);
	}
}

/** The peer's side. */
export class CiphertextSide extends Side {
	ready(readable: boolean, writable: boolean): void {
		this.of.ciphertextReady(readable, writable);
	}
}
