/*++
/* NAME
/*	owned 3
/* SUMMARY
/*	handles that are released exactly once
/* DESCRIPTION
/*	A descriptor or a C pointer lives in an Owned, which knows how to
/*	release it, refuses use afterwards, and can be moved to another
/*	owner. What only looks at the handle borrows its value.
/*
/*	Who owns several things has them in Resources: what was made last
/*	goes first, because it may need what was made before.
/*
/*	There are thousands of sessions, most of them idle, and each has
/*	about ten of these. So they have their fields and nothing else: no
/*	closure, no object within, no room to grow.
/* DIAGNOSTICS
/*	Panic: use of a handle after it was released or moved, or of
/*	Resources after they were.
/*--*/

import {Panic} from './errors.ts';

/**
 * What is to be done once, at disposal. An object literal with a dispose method would do, but V8 makes a new
 * shape for each of them: ten of those cost as much as a system call, and a session has ten.
 */
export class Finalizer implements Disposable {
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
	#value: T | undefined;
	/* Undefined once the handle was released or moved. The value cannot tell: it may be undefined itself. */
	#release: ((value: T) => void) | undefined;

	/**
	 * @param value - the handle; from here on only this object may release it.
	 * @param release - called once, with the value; must not throw.
	 */
	constructor(value: T, release: (value: T) => void) {
		this.#value = value;
		this.#release = release;
	}

	/**
	 * The handle, borrowed: valid until this object is disposed or moved.
	 *
	 * @throws {Panic} after that.
	 */
	get value(): T {
		if (this.#release === undefined) {
			throw new Panic('use of a released handle');
		}

		return this.#value as T;
	}

	/** Hands ownership over to a new object; this one becomes unusable. */
	move(): Owned<T> {
		const {value} = this;
		const release = this.#release as (value: T) => void;
		this.#release = undefined;
		this.#value = undefined;
		return new Owned(value, release);
	}

	/** Releases the handle. A second call does nothing. */
	[Symbol.dispose](): void {
		const value = this.#value as T;
		const release = this.#release;
		this.#release = undefined;
		this.#value = undefined;
		release?.(value);
	}
}

/**
 * Several things with one owner: a DisposableStack that takes no more room than its entries, and from which
 * one can be taken before the others.
 */
export class Resources implements Disposable {
	/* An array that is pushed to has room for sixteen more, for as long as a session lasts. */
	#held: readonly Disposable[] | undefined = [];

	/**
	 * Takes something over.
	 *
	 * @returns the same.
	 * @throws {Panic} when these were released or moved; the caller is the owner still.
	 */
	use<R extends Disposable>(resource: R): R {
		this.#held = usable(this.#held).concat(resource);
		return resource;
	}

	/** Whether there is nothing to release. */
	get empty(): boolean {
		return (this.#held?.length ?? 0) === 0;
	}

	/** Releases one of them before the others, if it is there. */
	release(resource: Disposable): void {
		const at = this.#held?.indexOf(resource) ?? -1;
		if (at >= 0) {
			this.#held = this.#held?.toSpliced(at, 1);
			resource[Symbol.dispose]();
		}
	}

	/** Hands all of them over to a new object; this one becomes unusable. */
	move(): Resources {
		const moved = new Resources();
		moved.#held = usable(this.#held);
		this.#held = undefined;
		return moved;
	}

	/**
	 * Releases all of them, the last one first. A second call does nothing.
	 *
	 * @throws what one of them has thrown, after the others; as with DisposableStack, a SuppressedError
	 * when there were several.
	 */
	[Symbol.dispose](): void {
		const held = this.#held ?? [];
		this.#held = undefined;
		let thrown: {readonly reason: unknown} | undefined;
		for (let at = held.length - 1; at >= 0; at--) {
			try {
				held[at]?.[Symbol.dispose]();
			} catch (reason) {
				thrown = {reason: thrown === undefined ? reason : new SuppressedError(reason, thrown.reason)};
			}
		}

		if (thrown !== undefined) {
			throw thrown.reason;
		}
	}
}

/* No method: objects of classes that have private ones are larger for it. */
function usable(held: readonly Disposable[] | undefined): readonly Disposable[] {
	if (held === undefined) {
		throw new Panic('use of released resources');
	}

	return held;
}
