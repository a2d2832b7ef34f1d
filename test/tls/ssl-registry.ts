import test from 'ava';
import type {Ssl} from '../../src/ffi/openssl/ssl.ts';
import {SslRegistry} from '../../src/tls/ssl-registry.ts';

const [first, second] = [0x1000n as Ssl, 0x2000n as Ssl];

test('a value is found until its registration is disposed', t => {
	const registry = new SslRegistry<object>();
	const [a, b] = [{}, {}];
	const registration = registry.register(first, a);
	registry.register(second, b);
	t.is(registry.get(first), a);
	t.is(registry.get(second), b);
	registration[Symbol.dispose]();
	t.is(registry.get(first), undefined);
	t.is(registry.get(second), b);
});

test('disposal does not remove the value of a later connection at the same address', t => {
	const registry = new SslRegistry<object>();
	const later = {};
	const registration = registry.register(first, {});
	const laterRegistration = registry.register(first, later);
	registration[Symbol.dispose]();
	t.is(registry.get(first), later);
	laterRegistration[Symbol.dispose]();
	t.is(registry.get(first), undefined);
	const last = {};
	registry.register(first, last);
	registration[Symbol.dispose]();
	laterRegistration[Symbol.dispose]();
	t.is(registry.get(first), last, 'a second disposal has no effect');
});

test('registries are independent', t => {
	const [one, other] = [new SslRegistry<number>(), new SslRegistry<number>()];
	one.register(first, 1);
	t.is(other.get(first), undefined);
});
