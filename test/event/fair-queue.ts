import test from 'ava';
import fc from 'fast-check';
import {FairQueue} from '../../src/event/fair-queue.ts';

/** All that is left, in the order in which it is served. */
function drain<Item>(queue: FairQueue<Item>): Item[] {
	const served: Item[] = [];
	for (let item = queue.take(); item !== undefined; item = queue.take()) {
		served.push(item);
	}

	return served;
}

test('FairQueue gives nothing when nothing waits', t => {
	const queue = new FairQueue<string>();
	t.is(queue.take(), undefined);
	queue.add('a', 'flow');
	t.is(queue.take(), 'a');
	t.is(queue.take(), undefined);
	t.is(queue.size, 0);
});

test('FairQueue serves items of no flow in the order in which they came', t => {
	const queue = new FairQueue<number>();
	for (let item = 1; item <= 5; item++) {
		queue.add(item);
	}

	t.is(queue.size, 5);
	t.deepEqual(drain(queue), [1, 2, 3, 4, 5]);
});

test('FairQueue serves the items of one flow in the order in which they came', t => {
	const queue = new FairQueue<number>();
	for (let item = 1; item <= 5; item++) {
		queue.add(item, 'flow');
	}

	t.deepEqual(drain(queue), [1, 2, 3, 4, 5]);
});

test('FairQueue lets flows take turns: who comes last waits for one item of a flow of thousands', t => {
	const queue = new FairQueue<string>();
	for (let count = 1; count <= 5000; count++) {
		queue.add(`storm ${count}`, 'storm');
	}

	queue.add('honest', 'honest');
	queue.add('of no flow');
	t.is(queue.size, 5002);
	t.deepEqual(
		[1, 2, 3, 4].map(() => queue.take()),
		['storm 1', 'honest', 'of no flow', 'storm 2'],
	);
});

test('FairQueue gives a flow that comes back no turn of those that wait', t => {
	const queue = new FairQueue<string>();
	queue.add('a1', 'a');
	queue.add('b1', 'b');
	t.is(queue.take(), 'a1');
	queue.add('a2', 'a');
	queue.add('c1', 'c');
	t.deepEqual(drain(queue), ['b1', 'a2', 'c1']);
});

/* The same, as simple as can be: a list of lists. */
class Model {
	readonly #flows: Array<{readonly name: string | undefined; readonly items: number[]}> = [];

	add(item: number, name?: string): void {
		const known = name === undefined ? undefined : this.#flows.find(key => key.name === name);
		if (known === undefined) {
			this.#flows.push({name, items: [item]});
		} else {
			known.items.push(item);
		}
	}

	take(): number | undefined {
		const key = this.#flows.shift();
		const item = key?.items.shift();
		if (key !== undefined && key.items.length > 0) {
			this.#flows.push(key);
		}

		return item;
	}
}

test('FairQueue does what a list of lists would do', t => {
	const name = fc.constantFrom(undefined, 'a', 'b', 'c', '__proto__');
	const step = fc.oneof(fc.constant('take' as const), fc.record({name}));
	fc.assert(
		fc.property(fc.array(step, {maxLength: 200}), steps => {
			const queue = new FairQueue<number>();
			const model = new Model();
			let size = 0;
			for (const [index, what] of steps.entries()) {
				if (what === 'take') {
					const item = model.take();
					t.is(queue.take(), item);
					size -= item === undefined ? 0 : 1;
				} else {
					queue.add(index, what.name);
					model.add(index, what.name);
					size++;
				}

				t.is(queue.size, size);
			}
		}),
	);
});

test('FairQueue needs the same time for an item whatever waits', t => {
	/* Quadratic behaviour would take minutes. */
	const queue = new FairQueue<number>();
	for (let item = 0; item < 300_000; item++) {
		queue.add(item, `key ${item % 100_000}`);
	}

	const served = drain(queue);
	t.is(served.length, 300_000);
	t.deepEqual(served.slice(99_999, 100_001), [99_999, 100_000]);
});
