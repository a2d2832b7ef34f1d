/*++
/* NAME
/*	owned 3
/* SUMMARY
/*	handles that are released exactly once
/* DESCRIPTION
/*	An Owned holds a descriptor or a C pointer and the function that
/*	releases it. It refuses use after the release, and can be moved to
/*	another owner. Code that does not own the handle borrows its value.
/*
/*	Resources hold several disposables with one owner. They are
/*	released in reverse order: a later one may depend on an earlier
/*	one.
/*
/*	A process has thousands of sessions, most of them idle, and each
/*	has about ten of these objects. Therefore the objects are small: no
/*	closures, no nested objects, no spare capacity.
/* DIAGNOSTICS
/*	Panic: a handle or Resources are used after they were released or
/*	moved.
/*--*/

import {Panic} from './errors.ts';

/**
 * A function that runs once, at disposal. An object literal with a dispose method would do the same, but V8
 * makes a new hidden class for each literal: ten of them cost as much as a system call, and a session has ten.
 */
export class Finalizer implements Disposable {
	#run: (() => unknown) | undefined;

	/** @param run - must not throw. */
	constructor(run: () => unknown) {
		this.#run = run;
	}

	/** Runs the function. A second call does nothing. */
	[Symbol.dispose](): void {
		const run = this.#run;
		this.#run = undefined;
		run?.();
	}
}

/** A value that must be released exactly once. */
export class Owned<T> implements Disposable {
	#value: T | undefined;
	/* Undefined after release or move. The value cannot indicate that: undefined is a valid value. */
	#release: ((value: T) => void) | undefined;

	/**
	 * @param value - the handle; only this object may release it.
	 * @param release - called once, with the value; must not throw.
	 */
	constructor(value: T, release: (value: T) => void) {
		this.#value = value;
		this.#release = release;
	}

	/**
	 * The handle, borrowed: valid until this object is disposed or moved.
	 *
	 * @throws {Panic} after disposal or move.
	 */
	get value(): T {
		if (this.#release === undefined) {
			throw new Panic('use of a released handle');
		}

		return this.#value as T;
	}

	/** Moves ownership to a new object; this one becomes unusable. */
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
 * Several disposables with one owner. Unlike a DisposableStack it has no spare capacity, and one entry can be
 * released before the others.
 */
export class Resources implements Disposable {
	/* Never pushed to: V8 would reserve space for sixteen more entries, for the life of the session. */
	#entries: readonly Disposable[] | undefined = [];

	/**
	 * Takes ownership of a disposable.
	 *
	 * @returns the same object.
	 * @throws {Panic} after release or move; the caller remains the owner.
	 */
	use<R extends Disposable>(resource: R): R {
		this.#entries = usable(this.#entries).concat(resource);
		return resource;
	}

	/** Whether nothing is left to release. */
	get empty(): boolean {
		return (this.#entries?.length ?? 0) === 0;
	}

	/** Releases one entry before the others. Does nothing when the object is not an entry. */
	release(resource: Disposable): void {
		const at = this.#entries?.indexOf(resource) ?? -1;
		if (at >= 0) {
			this.#entries = this.#entries?.toSpliced(at, 1);
			resource[Symbol.dispose]();
		}
	}

	/** Moves all entries to a new object; this one becomes unusable. */
	move(): Resources {
		const moved = new Resources();
		moved.#entries = usable(this.#entries);
		this.#entries = undefined;
		return moved;
	}

	/**
	 * Releases all entries, the last one first. A second call does nothing.
	 *
	 * @throws what an entry has thrown, after all entries were released. Like a DisposableStack it throws a
	 * SuppressedError when several entries have thrown.
	 */
	[Symbol.dispose](): void {
		const entries = this.#entries ?? [];
		this.#entries = undefined;
		/* In an object, because undefined can be thrown, too. */
		let thrown: {readonly reason: unknown} | undefined;
		for (let at = entries.length - 1; at >= 0; at--) {
			try {
				entries[at]?.[Symbol.dispose]();
			} catch (reason) {
				thrown = {reason: thrown === undefined ? reason : new SuppressedError(reason, thrown.reason)};
			}
		}

		if (thrown !== undefined) {
			throw thrown.reason;
		}
	}
}

/* A function, not a private method: private methods make every object of the class larger. */
function usable(entries: readonly Disposable[] | undefined): readonly Disposable[] {
	if (entries === undefined) {
		throw new Panic('use of released resources');
	}

	return entries;
}
