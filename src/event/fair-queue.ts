/*++
/* NAME
/*	fair-queue 3
/* SUMMARY
/*	a queue in which those who ask for much wait for themselves
/* DESCRIPTION
/*	Items belong to flows. Each flow is served in the order in which
/*	its items came; flows take turns, one item each. However many
/*	items one flow has waiting, another waits for one of them only.
/*
/*	An item of no flow stands for itself, as if it had a flow of its
/*	own: such items are served in the order in which they came.
/*
/*	A flow is known as long as it has items here, and no longer: what
/*	the queue needs grows with its items and with nothing else. Both
/*	operations take the same time whatever waits.
/* SEE ALSO
/*	RFC 970, On Packet Switches With Infinite Storage
/*--*/

/* Items of one flow, and who is next when it has had its turn. */
interface Flow<Item> {
	readonly name: string | undefined;
	first: Entry<Item>;
	last: Entry<Item>;
	next: Flow<Item> | undefined;
}

interface Entry<Item> {
	readonly item: Item;
	next: Entry<Item> | undefined;
}

/** A queue whose flows take turns. */
export class FairQueue<Item> {
	readonly #queues = new Map<string, Flow<Item>>();
	#first: Flow<Item> | undefined;
	#last: Flow<Item> | undefined;
	#size = 0;

	/** Items that wait. */
	get size(): number {
		return this.#size;
	}

	/** Puts an item behind those of its flow; undefined: of a flow of its own. */
	add(item: Item, name?: string): void {
		this.#size++;
		const entry: Entry<Item> = {item, next: undefined};
		const known = name === undefined ? undefined : this.#queues.get(name);
		if (known !== undefined) {
			known.last.next = entry;
			known.last = entry;
			return;
		}

		const key: Flow<Item> = {name, first: entry, last: entry, next: undefined};
		if (name !== undefined) {
			this.#queues.set(name, key);
		}

		this.#append(key);
	}

	/** Takes the next item of the flow whose turn it is; undefined when none waits. */
	take(): Item | undefined {
		const key = this.#first;
		if (key === undefined) {
			return undefined;
		}

		this.#size--;
		this.#first = key.next;
		key.next = undefined;
		const {item, next} = key.first;
		if (next !== undefined) {
			key.first = next;
			this.#append(key);
		} else if (key.name !== undefined) {
			this.#queues.delete(key.name);
		}

		return item;
	}

	/* Where the last flow is gone, what #last says means nothing. */
	#append(key: Flow<Item>): void {
		if (this.#first === undefined || this.#last === undefined) {
			this.#first = key;
		} else {
			this.#last.next = key;
		}

		this.#last = key;
	}
}
