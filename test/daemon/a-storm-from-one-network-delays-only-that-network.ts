/*
 * A handshake costs the server more than the client, and almost nothing for a client that
 * repeats a recorded ClientHello. Such a client fills a queue of pending handshakes
 * quickly. It must be a queue for that client only.
 */
import test from 'ava';
import {Daemon} from '../helpers/daemon.ts';
import {CertificateStore} from '../helpers/openssl.ts';
import {RawTls, TLS1_3_VERSION} from '../helpers/raw-tls.ts';
import {
	completeSession,
	RemoteListener,
	runConcurrently,
	serverRoleParameters,
} from '../helpers/remote-clients.ts';

const STORM = 400;

const store = new CertificateStore();
test.after.always(() => store[Symbol.dispose]());
/* A signature with this key takes some milliseconds, so that the queue becomes long. */
store.make('server', {key: ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:4096']});

test('a client from another network is served long before the end of a storm, a client from the same network is not', async t => {
	await using daemon = await Daemon.start('ours', {
		main: serverRoleParameters(store.path('server.key'), store.path('server.cert')),
	});
	const door = await RemoteListener.open(t, daemon);
	using recorder = new RawTls(TLS1_3_VERSION);
	recorder.handshake();
	const hello = recorder.take();

	let answered = 0;
	const storm = await runConcurrently(STORM, async index => await door.visit(`[192.0.2.1]:${index}`));
	const clients = [await door.visit('[198.51.100.1]:25'), await door.visit('[192.0.2.1]:25')];
	for (const {remote} of storm) {
		remote.once('data', () => answered++);
		remote.write(hello);
	}

	/* Some of them are answered while the others are still connecting. */
	await daemon.sandbox.waitFor(() => answered > 0);
	const before = answered;
	const [otherNetwork = 0, sameNetwork = 0] = await Promise.all(
		clients.map(async client => {
			await completeSession(t, client);
			return answered;
		}),
	);
	t.log(`of ${STORM}, ${before} were answered before, ${otherNetwork} and ${sameNetwork} by then`);
	/* A handshake takes two steps. One step of the storm precedes each step of the client from another network. */
	t.true(otherNetwork - before < 100, 'a client from another network has waited for the storm');
	t.true(sameNetwork - otherNetwork > 100, 'there was no queue');
});
