/*++
/* NAME
/*	owned 3
/* SUMMARY
/*	handles that are released exactly once
/* DESCRIPTION
/*	A descriptor or a C pointer lives in an Owned, which knows how to
/*	release it, refuses use afterwards, and can be moved to another
/*	owner. What only looks at the handle borrows its value.
/* DIAGNOSTICS
/*	Panic: use of a handle after it was released or moved.
/*--*/

import {Panic} from './errors.ts';

/**
 * What is to be done once, at disposal. An object literal with a dispose method would do, but V8 makes a new
 * shape for each of them: ten of those cost as much as a system call, and a session has ten.
 */
export class Release implements Disposable {
	#run: (() => unknown) | undefined;

	/** @param run - must not throw. */
	constructor(run: () => unknown) {
		this.#run = run;
	}

	/** Does it. A second call does nothing. */
	[Symbol.dispose](): void {
		const run = this.#run;
		this.#run = undefined;
		run?.();
	}
}

/** A value that must be released exactly once. */
export class Owned<T> implements Disposable {
	#held: {readonly value: T} | undefined;
	readonly #release: (value: T) => void;

	/**
	 * @param value - the handle; from here on only this object may release it.
	 * @param release - called once, with the value; must not throw.
	 */
	constructor(value: T, release: (value: T) => void) {
		this.#held = {value};
		this.#release = release;
	}

	/**
	 * The handle, borrowed: valid until this object is disposed or moved.
	 *
	 * @throws {Panic} after that.
	 */
	get value(): T {
		if (this.#held === undefined) {
			throw new Panic('use of a released handle');
		}

		return this.#held.value;
	}

	/** Hands ownership over to a new object; this one becomes unusable. */
	move(): Owned<T> {
		const moved = new Owned(this.value, this.#release);
		this.#held = undefined;
		return moved;
	}

	/** Releases the handle. A second call does nothing. */
	[Symbol.dispose](): void {
		const held = this.#held;
		this.#held = undefined;
		if (held !== undefined) {
			this.#release(held.value);
		}
	}
}
