/* The input is what clients of nine stock releases send. */
import test, {type ExecutionContext} from 'ava';
import fc from 'fast-check';
import {PeerError} from '../../src/base/errors.ts';
import type {Fd, Seconds} from '../../src/base/units.ts';
import {releaseFeatures} from '../../src/conf/release.ts';
import {send} from '../../src/ffi/libc/libc.ts';
import {FormatErrors} from '../../src/proxy/format-errors.ts';
import {Handoff, type HandoffContext} from '../../src/proxy/handoff.ts';
import {printList} from '../../src/wire/attribute-list.ts';
import {ClientSettingsParser} from '../../src/wire/client-settings.ts';
import type {Request} from '../../src/wire/request.ts';
import {type Held, socketPair} from '../helpers/descriptors.ts';
import {collectLog} from '../helpers/openssl.ts';
import {recordedHandoffs} from '../helpers/recorded-handoffs.ts';
import {printRequest} from '../helpers/wire.ts';

const recordings = recordedHandoffs();

function contextFor(features = releaseFeatures('3.7.11')): HandoffContext {
	return {
		features,
		settingsParser: new ClientSettingsParser(features),
		formatErrors: new FormatErrors(features),
	};
}

const request: Request = {
	remoteEndpoint: '[192.0.2.1]:25',
	role: 'client',
	sendContext: true,
	probeOnly: false,
	handshakeTimeout: 30 as Seconds,
	sessionTimeout: 300 as Seconds,
	serverId: 'smtp',
};

function write(socket: Held, bytes: Uint8Array): void {
	if (send(socket.fd, bytes, bytes.length, 0) !== bytes.length) {
		throw new Error('short write');
	}
}

const CONNECT_TO = 'CONNECT to [192.0.2.1]:25';

test('the recordings contain both roles, with and without settings', t => {
	t.deepEqual(
		new Set(recordings.map(({role, bytes, requestSize}) => `${role} ${bytes.length > requestSize}`)),
		new Set(['client true', 'server false', 'server true']),
	);
});

test.serial(
	'receive completes every recorded hand-off with its last byte, and logs CONNECT with the request',
	t => {
		const log = collectLog();
		for (const {title, features, role, bytes, requestSize} of recordings) {
			const [client, server] = socketPair(t);
			const handoff = new Handoff(contextFor(features));
			t.is(handoff.receive(server.fd), 'incomplete', title);
			t.false(handoff.started, title);
			write(client, bytes.subarray(0, requestSize - 1));
			t.is(handoff.receive(server.fd), 'incomplete', title);
			t.true(handoff.started, title);
			t.is(handoff.request, undefined, title);
			t.deepEqual(log, [], title);
			if (bytes.length > requestSize) {
				write(client, bytes.subarray(requestSize - 1, -1));
				t.is(handoff.receive(server.fd), 'incomplete', title);
				t.is(handoff.missing, `${role} TLS settings`, title);
				t.is(handoff.complete, undefined, title);
				t.is(log.length, 1, title);
			}

			write(client, bytes.subarray(-1));
			t.is(handoff.receive(server.fd), 'complete', title);
			t.is(handoff.request?.role, role, title);
			t.is(handoff.identity?.remoteEndpoint, handoff.request?.remoteEndpoint, title);
			t.is(handoff.complete?.role, role, title);
			t.is(handoff.complete?.settings !== undefined, bytes.length > requestSize, title);
			t.deepEqual(log, [`CONNECT ${role === 'client' ? 'to' : 'from'} ${handoff.request?.remoteEndpoint}`]);
			log.length = 0;
			client.close();
			server.close();
		}
	},
);

test('push parses the same hand-off, whatever the sizes of its pieces', t => {
	fc.assert(
		fc.property(
			fc.constantFrom(...recordings),
			fc.array(fc.integer({min: 1, max: 2000}), {maxLength: 50}),
			fc.boolean(),
			({title, features, bytes}, sizes, warm) => {
				const context = contextFor(features);
				const whole = new Handoff(context);
				t.true(whole.push(bytes), title);
				/* The parser of a process recognizes settings that it has parsed before. */
				const handoff = new Handoff(warm ? context : contextFor(features));
				let at = 0;
				for (const size of sizes) {
					if (at + size >= bytes.length) {
						break;
					}

					t.false(handoff.push(bytes.subarray(at, at + size)), title);
					at += size;
				}

				t.true(handoff.push(bytes.subarray(at)), title);
				t.deepEqual(handoff.complete, whole.complete, title);
			},
		),
	);
});

test('push rejects bytes after the last list', t => {
	for (const {title, features, bytes} of recordings) {
		const more = Buffer.concat([bytes, Buffer.from('EHLO')]);
		t.throws(
			() => new Handoff(contextFor(features)).push(more),
			{instanceOf: PeerError, message: '4 bytes after the request'},
			title,
		);
	}
});

test('push throws a PeerError or nothing, whatever the bytes', t => {
	const mutated = fc
		.tuple(fc.constantFrom(...recordings), fc.array(fc.tuple(fc.nat(5000), fc.nat(255)), {minLength: 1}))
		.map(([recording, changes]) => {
			const bytes = Uint8Array.from(recording.bytes);
			for (const [at, value] of changes) {
				bytes[at % bytes.length] = value;
			}

			return {features: recording.features, bytes};
		});
	const random = fc
		.tuple(fc.constantFrom(...recordings), fc.uint8Array({maxLength: 5000}))
		.map(([{features}, bytes]) => ({features, bytes}));
	fc.assert(
		fc.property(fc.oneof(mutated, random), ({features, bytes}) => {
			try {
				new Handoff(contextFor(features)).push(bytes);
			} catch (reason) {
				t.true(reason instanceof PeerError, String(reason));
			}
		}),
		{numRuns: 500},
	);
});

function receiveFrom(t: ExecutionContext, bytes: Uint8Array, context = contextFor()) {
	const [client, server] = socketPair(t);
	write(client, bytes);
	client.close();
	const handoff = new Handoff(context);
	return {handoff, progress: handoff.receive(server.fd)};
}

test.serial('receive fails when the client disconnects before the request is complete', t => {
	const log = collectLog();
	const bytes = printRequest(request, releaseFeatures('3.7.11'));
	const {handoff, progress} = receiveFrom(t, bytes.subarray(0, -1));
	t.is(progress, 'failed');
	t.is(handoff.identity, undefined);
	handoff.logEnd(false);
	t.deepEqual(log, [
		'warning: tlsp_get_request_event: receive request attributes: Connection closed by client',
	]);
});

test.serial('receive fails when the client disconnects before the settings are complete', t => {
	const log = collectLog();
	const {handoff, progress} = receiveFrom(t, printRequest(request, releaseFeatures('3.7.11')));
	t.is(progress, 'failed');
	handoff.logEnd(false);
	t.deepEqual(log, [
		CONNECT_TO,
		'warning: tlsp_get_request_event: receive client TLS settings: Connection closed by client',
		'TLS handshake failed for service=smtp peer=[192.0.2.1]:25',
		'DISCONNECT [192.0.2.1]:25',
	]);
});

test.serial('receive fails on a broken connection', t => {
	const log = collectLog();
	t.is(new Handoff(contextFor()).receive(-1 as Fd), 'failed');
	t.deepEqual(log, ['warning: tlsp_get_request_event: receive request attributes: Connection reset by peer']);
});

test.serial(
	'receive fails when the request is followed by other bytes, and logs CONNECT before the reason',
	t => {
		const log = collectLog();
		const features = releaseFeatures('3.7.11');
		const bytes = printRequest({...request, role: 'server'}, features);
		const {progress} = receiveFrom(t, Buffer.concat([bytes, Buffer.from('EHLO')]));
		t.is(progress, 'failed');
		t.deepEqual(log, [
			'CONNECT from [192.0.2.1]:25',
			'warning: tlsp_get_request_event: receive server TLS settings: 4 bytes after the request',
		]);
	},
);

test.serial('receive fails on a list that is not a request, and logs that the releases may differ', t => {
	const log = collectLog();
	const {progress} = receiveFrom(t, printList([['protocol', 'smtp']]));
	t.is(progress, 'failed');
	t.is(log.length, 2);
	t.regex(log[0] ?? '', /^warning: tlsp_get_request_event: receive request attributes: /);
	t.regex(
		log[1] ?? '',
		/^warning: the client does not use the protocol of Postfix 3\.7\.11, .*"postfix reload"$/,
	);
});

for (const [flags, direction] of [
	[0, '(bogus_direction)'],
	[3, 'from'],
] as const) {
	test.serial(`receive refuses a request with flags ${flags}`, t => {
		const log = collectLog();
		const bytes = Buffer.from(printRequest({...request, sendContext: false}, releaseFeatures('3.7.11')))
			.toString('latin1')
			.replace('flags\x002', `flags\x00${flags}`);
		const {handoff, progress} = receiveFrom(t, Buffer.from(bytes, 'latin1'));
		t.is(progress, 'refused');
		t.is(handoff.request, undefined);
		t.is(handoff.complete, undefined);
		handoff.logEnd(true);
		t.deepEqual(log, [
			`CONNECT ${direction} [192.0.2.1]:25`,
			`warning: tlsp_get_request_event: bad request flags: 0x${flags}`,
			'DISCONNECT [192.0.2.1]:25',
		]);
	});
}

test('a request for availability is complete without settings', t => {
	const features = releaseFeatures('3.12.0');
	for (const role of ['client', 'server'] as const) {
		const handoff = new Handoff(contextFor(features));
		t.true(handoff.push(printRequest({...request, role, probeOnly: true}, features)));
		t.is(handoff.request?.role, role);
		t.is(handoff.complete, undefined);
	}
});

test.serial('logTimeout logs the missing list, and a client that may wait for a greeting', t => {
	const log = collectLog();
	const missing = 'warning: tlsp_get_request_event: receive request attributes: Connection timed out';
	new Handoff(contextFor()).logTimeout();
	t.deepEqual(log, [missing]);
	log.length = 0;
	const old = releaseFeatures('3.5.25');
	new Handoff(contextFor(old)).logTimeout();
	t.is(log[0], missing);
	t.regex(
		log[1] ?? '',
		/^warning: clients of Postfix 3\.6 or later wait for a greeting; those of Postfix 3\.5\.25, /,
	);
	t.is(log.length, 2);
	log.length = 0;
	const handoff = new Handoff(contextFor(old));
	handoff.push(printRequest(request, old));
	handoff.logTimeout();
	t.deepEqual(log, ['warning: tlsp_get_request_event: receive client TLS settings: Connection timed out']);
});
