/*
 * A handshake costs a server more than a client, and one that repeats a recorded
 * hello nearly nothing: whoever opens them as fast as it can has a long queue waiting
 * for us in no time. It is its own queue.
 */
import test from 'ava';
import {Daemon} from '../helpers/daemon.ts';
import {converse, FrontDoor, many, serverRole} from '../helpers/front-door.ts';
import {CertificateStore} from '../helpers/openssl.ts';
import {RawTls, TLS1_3_VERSION} from '../helpers/raw-tls.ts';

const STORM = 400;

const store = new CertificateStore();
test.after.always(() => store[Symbol.dispose]());
/* Some milliseconds for a signature: that is what makes the queue long. */
store.make('server', {key: ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:4096']});

test('a client from elsewhere is served long before the queue of a storm is, one from there is not', async t => {
	await using daemon = await Daemon.start('ours', {
		main: serverRole(store.path('server.key'), store.path('server.cert')),
	});
	const door = await FrontDoor.open(t, daemon);
	using recorder = new RawTls(TLS1_3_VERSION);
	recorder.handshake();
	const hello = recorder.take();

	let answered = 0;
	const storm = await many(STORM, async index => await door.visit(`[192.0.2.1]:${index}`));
	const visitors = [await door.visit('[198.51.100.1]:25'), await door.visit('[192.0.2.1]:25')];
	for (const {remote} of storm) {
		remote.once('data', () => answered++);
		remote.write(hello);
	}

	/* Some are served by the time all have been heard. */
	await daemon.sandbox.waitFor(() => answered > 0);
	const before = answered;
	const [elsewhere = 0, there = 0] = await Promise.all(
		visitors.map(async visitor => {
			await converse(t, visitor);
			return answered;
		}),
	);
	t.log(`of ${STORM}, ${before} were answered before, ${elsewhere} and ${there} by then`);
	/* Each has two steps; from elsewhere, one of the storm comes before each of them. */
	t.true(elsewhere - before < 100, 'a client from elsewhere has waited for the storm');
	t.true(there - elsewhere > 100, 'there was no queue');
});
