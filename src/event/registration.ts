/*++
/* NAME
/*	registration 3
/* SUMMARY
/*	that a descriptor is watched
/* DESCRIPTION
/*	What its owner has in hand. There are two per session: it has
/*	fields, and no closure.
/* SEE ALSO
/*	reactor(3)
/*--*/

import type {Fd} from '../base/units.ts';

/** Who watches. A generation tells a descriptor from one of the same number that was watched before. */
export interface Registry {
	/** Tells of room for output from now on, or not any more. What there is already is told, too. */
	change(fd: Fd, generation: number, writable: boolean): void;
	/** Watches a descriptor no more, unless it is that of another by now. */
	remove(fd: Fd, generation: number): void;
}

/** That a descriptor is watched. Disposal ends it. */
export class Registration implements Disposable {
	readonly #keeper: Registry;
	readonly #fd: Fd;
	readonly #generation: number;
	#writable = false;

	constructor(keeper: Registry, fd: Fd, generation: number) {
		this.#keeper = keeper;
		this.#fd = fd;
		this.#generation = generation;
	}

	/**
	 * Whether to tell when there is room for output, where that is not always told. Who asks while there is
	 * some is told so.
	 */
	set writeInterest(wanted: boolean) {
		if (this.#writable !== wanted) {
			this.#writable = wanted;
			this.#keeper.change(this.#fd, this.#generation, wanted);
		}
	}

	/* A second call finds nobody, or another generation. */
	[Symbol.dispose](): void {
		this.#keeper.remove(this.#fd, this.#generation);
	}
}
