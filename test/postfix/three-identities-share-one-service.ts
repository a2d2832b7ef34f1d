/*
 * Stock needs a tlsproxy service for each client certificate. This program needs one service,
 * even if the keys are outside the chroot jail. Each client uses only the certificate that is
 * configured for it, and an unusable certificate does not affect the others.
 */
import {chmodSync, mkdirSync, mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test from 'ava';
import {makeCertificates} from '../../postfix/lib/certificates.ts';
import {inject} from '../../postfix/lib/inject.ts';
import {Sink} from '../../postfix/lib/sink.ts';
import {messages, SenderAndSink, SINK_NAME} from '../helpers/sender-and-sink.ts';

const names = ['one', 'two', 'three'] as const;

test.serial('each of three services sends the certificate that it is configured with', async t => {
	const directory = mkdtempSync(join(tmpdir(), 'identities-'));
	t.teardown(() => rmSync(directory, {recursive: true}));
	const services: string[] = [];
	for (const [index, name] of names.entries()) {
		const home = join(directory, name);
		mkdirSync(home);
		const {certFile, keyFile} = await makeCertificates(
			home,
			`${name}.example`,
			index === 1 ? 'rsa' : 'ecdsa',
		);
		chmodSync(keyFile, 0o600);
		chmodSync(home, 0o700);
		const program = name === 'three' ? 'lmtp' : 'smtp';
		services.push(
			`${name} unix - - n - - ${program}\n  -o ${program}_tls_cert_file=${certFile} -o ${program}_tls_key_file=${keyFile}`,
		);
	}

	services.push(
		'broken unix - - n - - smtp\n  -o smtp_tls_cert_file=/absent/cert -o smtp_tls_key_file=/absent/key',
	);
	await using pair = await SenderAndSink.start(
		{
			chroot: 'y',
			services,
			main: {
				lmtp_tls_security_level: 'encrypt',
				lmtp_tls_connection_reuse: 'yes',
				/* The default transport does not connect to the relay host. */
				transport_maps: 'static:',
			},
		},
		{requestCertificate: true},
	);
	const {sandbox, sink} = pair;
	await using lmtp = await Sink.start({
		hostName: SINK_NAME,
		tls: pair.certificates,
		requestCertificate: true,
		lmtp: true,
	});
	const nexthop = `[127.0.0.1]:${sink.port}`;
	const routes = [
		`{ one.example = one:${nexthop} }`,
		`{ two.example = two:${nexthop} }`,
		`{ three.example = three:inet:[127.0.0.1]:${lmtp.port} }`,
		`{ broken.example = broken:${nexthop} }`,
		`{ none.example = smtp:${nexthop} }`,
	];
	await sandbox.postconf('transport_maps', `inline:{ ${routes.join(', ')} }`);
	await sandbox.reload();
	const all = [...names, 'none', 'broken'].flatMap(name => messages(4, index => `u${index}@${name}.example`));
	await inject(sandbox.submissionPort, all, 4);
	t.true(
		await sandbox.waitFor(async () => (await sink.counts()).encryptedMessages >= 12),
		await sandbox.log(),
	);
	t.true(await sandbox.waitFor(async () => (await sandbox.queue()).length === 4));

	const reports = [await sink.report(), await lmtp.report()];
	const deliveries = reports.flatMap(({connections, messages: arrived}) =>
		arrived.map(
			({connection, to: [to = '']}) => `${to.replace(/.*@/, '')} ${connections[connection]?.clientName}`,
		),
	);
	t.deepEqual([...new Set(deliveries)].toSorted(), [
		'none.example ',
		'one.example one.example',
		'three.example three.example',
		'two.example two.example',
	]);
	t.is(deliveries.length, 16);
	t.deepEqual(
		reports.map(({clearMessages}) => clearMessages),
		[0, 0],
	);
	const log = await sandbox.log();
	t.regex(log, /warning: broken\/unix: its certificates cannot be used; this service refuses its requests/);
	t.notRegex(log, /unexpected settings/);
});
