import test from 'ava';
import fc from 'fast-check';
import {Lru} from '../../src/base/lru.ts';

test('Lru drops the least recently used entry when it is full', t => {
	const dropped: string[] = [];
	const map = new Lru<string, string>(2, value => dropped.push(value));
	map.set('a', '1');
	map.set('b', '2');
	t.is(map.get('a'), '1');
	map.set('c', '3');
	t.deepEqual(dropped, ['2']);
	t.deepEqual([...map.values()], ['1', '3']);
	t.false(map.has('b'));
	t.is(map.size, 2);
});

test('Lru drops a value once when it is replaced or deleted, and not when it is taken', t => {
	const dropped: string[] = [];
	const map = new Lru<string, string>(3, value => dropped.push(value));
	map.set('a', '1');
	map.set('a', '1');
	t.deepEqual(dropped, []);
	map.set('a', '2');
	t.deepEqual(dropped, ['1']);
	t.is(map.take('a'), '2');
	map.set('b', '3');
	map.delete('b');
	map.delete('b');
	t.deepEqual(dropped, ['1', '3']);
});

test('Lru drops all entries when it is disposed, once', t => {
	const dropped: string[] = [];
	const map = new Lru<string, string>(3, value => dropped.push(value));
	map.set('a', '1');
	map.set('b', '2');
	map[Symbol.dispose]();
	map[Symbol.dispose]();
	t.deepEqual(dropped, ['1', '2']);
	t.is(map.get('a'), undefined);
});

test('Lru behaves like a list in order of use, for any sequence of calls', t => {
	const call = fc.tuple(fc.constantFrom('get', 'set', 'take', 'delete'), fc.integer({min: 0, max: 5}));
	fc.assert(
		fc.property(fc.array(call), fc.integer({min: 1, max: 4}), (calls, limit) => {
			const map = new Lru<number, number>(limit);
			let model: number[] = [];
			for (const [name, key] of calls) {
				const known = model.includes(key);
				if (name === 'get') {
					t.is(map.get(key), known ? key : undefined);
					model = known ? [...model.filter(other => other !== key), key] : model;
				} else if (name === 'set') {
					map.set(key, key);
					model = [...model.filter(other => other !== key), key].slice(-limit);
				} else if (name === 'take') {
					t.is(map.take(key), known ? key : undefined);
					model = model.filter(other => other !== key);
				} else {
					map.delete(key);
					model = model.filter(other => other !== key);
				}

				t.deepEqual([...map.values()], model);
			}
		}),
	);
});
