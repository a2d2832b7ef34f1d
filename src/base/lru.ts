/*++
/* NAME
/*	lru 3
/* SUMMARY
/*	a bounded map that drops its least recently used entry
/* DESCRIPTION
/*	Every cache whose keys or values come from clients and servers is
/*	an Lru: no cache grows without bound. Values may own resources.
/*	A value that is dropped, replaced or deleted is passed to a
/*	callback that releases it.
/*--*/

/** A bounded map. Disposal drops all entries. */
export class Lru<Key, Value> implements Disposable {
	readonly #limit: number;
	readonly #drop: ((value: Value) => void) | undefined;
	/* In order of use. */
	readonly #entries = new Map<Key, Value>();
	/* The key of the last entry: most lookups are for it, and they need not reorder the map. */
	#latest: Key | undefined;

	/**
	 * @param limit - number of entries, at least 1.
	 * @param drop - releases a value that leaves the map; must not throw. Not called by {@link take}.
	 */
	constructor(limit: number, drop?: (value: Value) => void) {
		this.#limit = limit;
		this.#drop = drop;
	}

	get size(): number {
		return this.#entries.size;
	}

	/** The values, least recently used first. */
	values(): IterableIterator<Value> {
		return this.#entries.values();
	}

	/** Looks up a value and makes its entry the most recently used one. The map still owns the value. */
	get(key: Key): Value | undefined {
		const value = this.#entries.get(key);
		if (value !== undefined && key !== this.#latest) {
			this.#entries.delete(key);
			this.#entries.set(key, value);
			this.#latest = key;
		}

		return value;
	}

	/** Whether the key has an entry. This does not count as use. */
	has(key: Key): boolean {
		return this.#entries.has(key);
	}

	/** Adds or replaces an entry and makes it the most recently used one. From then on the map owns the value. */
	set(key: Key, value: Value): void {
		const replaced = this.#entries.get(key);
		this.#entries.delete(key);
		this.#entries.set(key, value);
		this.#latest = key;
		if (replaced !== undefined && replaced !== value) {
			this.#drop?.(replaced);
		}

		if (this.#entries.size > this.#limit) {
			for (const oldest of this.#entries.keys()) {
				this.delete(oldest);
				break;
			}
		}
	}

	/** Removes an entry without dropping its value. From then on the caller owns the value. */
	take(key: Key): Value | undefined {
		const value = this.#entries.get(key);
		this.#entries.delete(key);
		if (key === this.#latest) {
			this.#latest = undefined;
		}

		return value;
	}

	/** Removes an entry and drops its value. */
	delete(key: Key): void {
		const value = this.take(key);
		if (value !== undefined) {
			this.#drop?.(value);
		}
	}

	[Symbol.dispose](): void {
		const values = [...this.#entries.values()];
		this.#entries.clear();
		this.#latest = undefined;
		for (const value of values) {
			this.#drop?.(value);
		}
	}
}
