/*++
/* NAME
/*	registration 3
/* SUMMARY
/*	registration of a descriptor with the reactor
/* DESCRIPTION
/*	The owner of a watched descriptor holds a Registration. Its
/*	disposal ends the watch. A session has two of them: a Registration
/*	has fields only, and no closures.
/* SEE ALSO
/*	reactor(3)
/*--*/

import type {Fd} from '../base/units.ts';

/**
 * The part of the reactor that a registration calls. The generation distinguishes a descriptor from an earlier
 * one with the same number.
 */
export interface Registry {
	/** Turns EPOLLOUT on or off. When the descriptor is writable already, that is reported, too. */
	change(fd: Fd, generation: number, writable: boolean): void;
	/** Ends the watch, unless the generation is outdated. */
	remove(fd: Fd, generation: number): void;
}

/** A watched descriptor. Disposal ends the watch. */
export class Registration implements Disposable {
	readonly #registry: Registry;
	readonly #fd: Fd;
	readonly #generation: number;
	#writeInterest = false;

	constructor(registry: Registry, fd: Fd, generation: number) {
		this.#registry = registry;
		this.#fd = fd;
		this.#generation = generation;
	}

	/**
	 * Whether EPOLLOUT is reported, for descriptors that are registered for input only. When the descriptor is
	 * writable already, it is reported at once.
	 */
	set writeInterest(wanted: boolean) {
		if (this.#writeInterest !== wanted) {
			this.#writeInterest = wanted;
			this.#registry.change(this.#fd, this.#generation, wanted);
		}
	}

	/* A second call has no effect: the generation is outdated by then. */
	[Symbol.dispose](): void {
		this.#registry.remove(this.#fd, this.#generation);
	}
}
