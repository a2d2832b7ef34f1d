/*++
/* NAME
/*	fair-queue 3
/* SUMMARY
/*	queue that serves keys in turn
/* DESCRIPTION
/*	Items with the same key are served in the order of arrival. Keys
/*	take turns (round robin), one item each: an item waits for at most
/*	one item of every other key, however many items those keys have.
/*
/*	An item without a key takes its turn alone. Such items are served
/*	in the order of arrival.
/*
/*	A key is stored only while it has items: memory grows with the
/*	number of items and nothing else. add() and take() run in constant
/*	time.
/* SEE ALSO
/*	RFC 970, On Packet Switches With Infinite Storage
/*--*/

/* The items of one key, or one item without a key; a linked list of queues in the order of their turns. */
interface KeyQueue<Item> {
	readonly key: string | undefined;
	first: Entry<Item>;
	last: Entry<Item>;
	next: KeyQueue<Item> | undefined;
}

interface Entry<Item> {
	readonly item: Item;
	next: Entry<Item> | undefined;
}

/** A queue that serves keys in turn. */
export class FairQueue<Item> {
	readonly #queues = new Map<string, KeyQueue<Item>>();
	#first: KeyQueue<Item> | undefined;
	/* Only valid while #first is set. */
	#last: KeyQueue<Item> | undefined;
	#size = 0;

	/** Number of items. */
	get size(): number {
		return this.#size;
	}

	/** Appends an item to those with the same key. An item without a key shares its turn with no other. */
	add(item: Item, key?: string): void {
		this.#size++;
		const entry: Entry<Item> = {item, next: undefined};
		const known = key === undefined ? undefined : this.#queues.get(key);
		if (known !== undefined) {
			known.last.next = entry;
			known.last = entry;
			return;
		}

		const queue: KeyQueue<Item> = {key, first: entry, last: entry, next: undefined};
		if (key !== undefined) {
			this.#queues.set(key, queue);
		}

		this.#append(queue);
	}

	/** Removes the next item of the key whose turn it is; undefined when the queue is empty. */
	take(): Item | undefined {
		const queue = this.#first;
		if (queue === undefined) {
			return undefined;
		}

		this.#size--;
		this.#first = queue.next;
		queue.next = undefined;
		const {item, next} = queue.first;
		if (next !== undefined) {
			queue.first = next;
			this.#append(queue);
		} else if (queue.key !== undefined) {
			this.#queues.delete(queue.key);
		}

		return item;
	}

	#append(queue: KeyQueue<Item>): void {
		if (this.#first === undefined || this.#last === undefined) {
			this.#first = queue;
		} else {
			this.#last.next = queue;
		}

		this.#last = queue;
	}
}
