/*
 * Every cause that doctor reports is reproduced with a real Postfix: with it, connections are
 * not reused, or mail is not delivered over TLS; without it they are, and doctor reports
 * nothing.
 */
import {execFileSync, spawnSync} from 'node:child_process';
import {chmodSync, cpSync, mkdirSync, renameSync, rmSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import test from 'ava';
import {inject} from '../../postfix/lib/inject.ts';
import type {SandboxOptions} from '../../postfix/lib/sandbox.ts';
import {messages, SenderAndSink, SINK_NAME} from '../helpers/sender-and-sink.ts';

const project = join(import.meta.dirname, '..', '..');
const MESSAGES = 20;

/* Connections are cached for a short time, so that the tests do not wait long for its end. */
async function start(options: SandboxOptions = {}, delay = 0): Promise<SenderAndSink> {
	const main = {smtp_connection_cache_time_limit: '2s', ...options.main};
	return await SenderAndSink.start({...options, main}, {delay});
}

/** The report of doctor on a running instance, in one line. */
function doctor(pair: SenderAndSink): string {
	const {status, stdout, stderr} = spawnSync(
		join(project, 'postfix', 'doctor'),
		['-c', pair.sandbox.configDirectory],
		{encoding: 'utf8', cwd: '/'},
	);
	return status === (stdout === '' ? 0 : 1) ? stdout.replaceAll(/\s+/g, ' ').trim() : stderr;
}

/** The result of a delivery. */
interface Outcome {
	readonly encrypted: number;
	readonly connections: number;
}

async function deliver(pair: SenderAndSink, count: number, limit: number, streams = 2): Promise<Outcome> {
	await inject(pair.sandbox.submissionPort, messages(count), streams);
	await pair.arrived(count, limit);
	const {encryptedMessages, handshakes} = await pair.sink.counts();
	return {encrypted: encryptedMessages, connections: handshakes};
}

test.serial('without a cause connections are reused, and doctor reports nothing', async t => {
	await using pair = await start();
	t.is(doctor(pair), '');
	const {encrypted, connections} = await deliver(pair, MESSAGES, 60_000);
	t.is(encrypted, MESSAGES, await pair.sandbox.log());
	t.true(connections < MESSAGES, `${connections} connections`);
	t.is(doctor(pair), '');
});

interface Cause extends SandboxOptions {
	/** The report of doctor. */
	readonly reports: RegExp;
	readonly messages?: number;
	readonly streams?: number;
	/** Time that the server takes for a message, in milliseconds. */
	readonly delay?: number;
	/** Undefined: every message is delivered over TLS, each on a separate connection. */
	readonly effect?: 'not delivered' | 'in cleartext' | 'little reuse';
}

const notReused = test.macro({
	async exec(t, {reports, effect, messages: count = MESSAGES, streams, delay, ...options}: Cause) {
		await using pair = await start(options, delay);
		t.regex(doctor(pair), reports);
		const waits = effect === 'not delivered' ? 2500 : 90_000;
		const {encrypted, connections} = await deliver(pair, count, waits, streams);
		switch (effect) {
			case 'not delivered':
				t.is(encrypted, 0);
				t.is((await pair.sandbox.queue()).length, count);
				break;
			case 'in cleartext':
				t.is(encrypted, 0);
				t.is((await pair.sink.counts()).clearMessages, count);
				break;
			case 'little reuse':
				t.is(encrypted, count, await pair.sandbox.log());
				t.true(connections > count / 2 - 1, `${connections} connections`);
				break;
			case undefined:
				t.is(encrypted, count, await pair.sandbox.log());
				t.is(connections, count);
		}
	},
	title: (cause = '') => `${cause}: doctor reports it, and Postfix behaves accordingly`,
});

const smtpOnly = {smtp_connection_cache_destinations: ''};

test.serial('reuse off', notReused, {
	main: {smtp_tls_connection_reuse: 'no'},
	reports: /smtp_tls_connection_reuse is off/,
});
test.serial('a policy without reuse', notReused, {
	main: {smtp_tls_policy_maps: 'static:{encrypt connection_reuse=no}'},
	reports: /Reuse is off: the policy of \[127\.0\.0\.1\]:\d+ in static:/,
});
test.serial('a policy for the host alone', notReused, {
	main: {
		smtp_tls_connection_reuse: 'no',
		smtp_tls_policy_maps: 'inline:{ { 127.0.0.1 = encrypt connection_reuse=yes } }',
	},
	reports: /has a policy for 127\.0\.0\.1, and the next-hop is \[127\.0\.0\.1\]:\d+/,
});
test.serial('a policy without TLS', notReused, {
	main: {smtp_tls_policy_maps: 'static:none'},
	reports: /TLS is off: the policy of/,
	effect: 'in cleartext',
});
test.serial('level none', notReused, {
	main: {smtp_tls_security_level: 'none'},
	reports: /smtp_tls_security_level is "none"/,
	effect: 'in cleartext',
});
test.serial('STARTTLS hidden', notReused, {
	main: {smtp_tls_security_level: 'may', smtp_discard_ehlo_keywords: 'starttls'},
	reports: /smtp_discard_ehlo_keywords contains STARTTLS/,
	effect: 'in cleartext',
});
test.serial('HELO instead of EHLO', notReused, {
	main: {smtp_tls_security_level: 'may', smtp_never_send_ehlo: 'yes'},
	reports: /smtp_never_send_ehlo is on/,
	effect: 'in cleartext',
});
test.serial('wrapper mode at level may', notReused, {
	main: {smtp_tls_security_level: 'may', smtp_tls_wrappermode: 'yes'},
	reports: /smtp_tls_wrappermode is on/,
	effect: 'not delivered',
});
test.serial('no service', notReused, {
	tlsproxy: 'none',
	reports: /no active service tlsproxy\/unix/,
	effect: 'not delivered',
});
test.serial('a service of another name', notReused, {
	main: {tlsproxy_service_name: 'other'},
	reports: /no active service other\/unix/,
	effect: 'not delivered',
});
test.serial('a public service', notReused, {
	tlsproxy: 'none',
	services: ['tlsproxy unix n - n - 0 tlsproxy'],
	reports: /tlsproxy\/unix is not private/,
	effect: 'not delivered',
});
test.serial('a disabled service', notReused, {
	main: {master_service_disable: 'tlsproxy/unix'},
	reports: /master_service_disable turns tlsproxy\/unix off/,
	effect: 'not delivered',
});
test.serial('a limit for stock', notReused, {
	tlsproxy: 'none',
	services: ['tlsproxy unix - - n - 2 tlsproxy'],
	reports: /stock tlsproxy\(8\) must have no limit/,
	effect: 'not delivered',
});
for (const tlsproxy of ['ours', 'stock'] as const) {
	test.serial(`no client role, with ${tlsproxy}`, notReused, {
		tlsproxy,
		main: {smtp_tls_security_level: ''},
		services: ['smtp unix - - n - - smtp -o smtp_tls_security_level=encrypt'],
		reports: /is empty for tlsproxy\/unix, which turns its client role off/,
		effect: 'not delivered',
	});
}

test.serial('no cache service', notReused, {
	main: {connection_cache_service_name: 'cache'},
	reports: /no service cache\/unix/,
});
test.serial('a disabled cache service', notReused, {
	main: {master_service_disable: 'scache/unix'},
	reports: /master_service_disable turns scache\/unix off/,
});
test.serial('more than one cache', notReused, {
	services: ['scache unix - - n - 2 scache'],
	messages: 2,
	reports: /scache\/unix has a process limit of 2/,
});
test.serial('nothing stored', notReused, {
	main: {...smtpOnly, smtp_connection_cache_on_demand: 'no'},
	reports: /smtp_connection_cache_on_demand is off/,
});
test.serial('destinations in brackets', notReused, {
	main: {smtp_connection_cache_on_demand: 'no', smtp_connection_cache_destinations: '$relayhost'},
	reports: /smtp_connection_cache_destinations contains "\[127\.0\.0\.1\]:\d+"/,
});
test.serial('two deliveries per connection', notReused, {
	main: {smtp_connection_reuse_count_limit: '1'},
	reports: /smtp_connection_reuse_count_limit is 1/,
	effect: 'little reuse',
});
test.serial('a pause that is longer than the cache time limit', notReused, {
	main: {smtp_destination_rate_delay: '3s'},
	messages: 3,
	reports: /smtp_destination_rate_delay is 3 s, and connections are stored for 2 s/,
});
test.serial('unlimited concurrency', notReused, {
	main: {...smtpOnly, smtp_destination_concurrency_limit: '0', initial_destination_concurrency: '100'},
	/* All at once: otherwise some are delivered before the others arrive. */
	streams: MESSAGES,
	delay: 2000,
	reports: /smtp_destination_concurrency_limit is 0/,
	effect: 'little reuse',
});

/* The other two time limits, with a message every three seconds. */
for (const [limits, parameters, messageCount, connections] of [
	['a time limit above that of the cache', {smtp_connection_cache_time_limit: '20s'}, 2, 2],
	['both time limits', {smtp_connection_cache_time_limit: '20s', connection_cache_ttl_limit: '20s'}, 2, 1],
	[
		'a reuse time limit of two seconds',
		{
			smtp_connection_cache_time_limit: '20s',
			connection_cache_ttl_limit: '20s',
			smtp_connection_reuse_time_limit: '2s',
		},
		3,
		2,
	],
] as const) {
	test.serial(
		`with ${limits} ${messageCount} messages with pauses take ${connections} connections`,
		async t => {
			await using pair = await start({main: parameters});
			t.is(doctor(pair) === '', connections === 1);
			for (let number = 1; number <= messageCount; number++) {
				if (number > 1) {
					await new Promise(resolve => setTimeout(resolve, 3200));
				}

				await inject(pair.sandbox.submissionPort, messages(1), 1);
				t.true(await pair.arrived(number));
			}

			t.is((await pair.sink.counts()).handshakes, connections);
		},
	);
}

for (const inJail of [false, true]) {
	test.serial(
		`a chroot jail ${inJail ? 'with' : 'without'} the CApath directory ${inJail ? 'verifies' : 'does not verify'} servers`,
		async t => {
			await using pair = await start({
				chroot: 'y',
				main: {smtp_tls_security_level: 'secure', smtp_tls_secure_cert_match: SINK_NAME},
			});
			const {sandbox} = pair;
			const authorities = join(sandbox.directory, 'authorities');
			mkdirSync(authorities);
			cpSync(pair.certificates.caFile, join(authorities, 'ca.pem'));
			execFileSync('openssl', ['rehash', authorities]);
			if (inJail) {
				cpSync(authorities, join(sandbox.queueDirectory, authorities), {
					recursive: true,
					verbatimSymlinks: true,
				});
			}

			await sandbox.postconf('smtp_tls_CApath', authorities);
			await sandbox.reload();
			if (inJail) {
				t.is(doctor(pair), '');
			} else {
				t.regex(doctor(pair), /runs in a jail, and \S+\/authorities does not exist there/);
			}

			const {encrypted} = await deliver(pair, 3, inJail ? 60_000 : 5000);
			t.is(encrypted, inJail ? 3 : 0, await sandbox.log());
		},
	);
}

test.serial(
	'stock cannot serve another identity whose key only root can read, and this program can',
	async t => {
		for (const tlsproxy of ['stock', 'ours'] as const) {
			await using pair = await start({tlsproxy});
			const {certFile, keyFile} = pair.certificates;
			chmodSync(keyFile, 0o600);
			writeFileSync(
				join(pair.sandbox.configDirectory, 'master.cf'),
				`other unix - - n - - smtp -o smtp_tls_cert_file=${certFile} -o smtp_tls_key_file=${keyFile}\n`,
				{flag: 'a'},
			);
			await pair.sandbox.postconf('default_transport', 'other');
			await pair.sandbox.postconf('transport_maps', `static:other:[127.0.0.1]:${pair.sink.port}`);
			await pair.sandbox.reload();
			const report = doctor(pair);
			const {encrypted} = await deliver(pair, 4, tlsproxy === 'stock' ? 5000 : 60_000);
			if (tlsproxy === 'stock') {
				t.regex(report, /Stock tlsproxy\(8\) has one identity, and that of other\/unix differs/);
				t.is(encrypted, 0);
				t.regex(await pair.sandbox.log(), /unexpected settings/);
			} else {
				t.is(report, '');
				t.is(encrypted, 4);
			}
		}
	},
);

test.serial('a change without a reload is reported, until the reload', async t => {
	await using pair = await start({tlsproxy: 'ours'});
	const {sandbox} = pair;
	t.is((await deliver(pair, 4, 60_000)).encrypted, 4);
	t.is(doctor(pair), '');
	await new Promise(resolve => setTimeout(resolve, 3100));

	await sandbox.postconf('smtp_helo_timeout', '200s');
	t.regex(doctor(pair), /main\.cf was changed after these processes were started: (.*, )?tlsproxy\[\d+\]/);
	await sandbox.reload();
	t.true(await sandbox.waitFor(() => doctor(pair) === ''));

	const {status} = spawnSync(
		join(project, 'postfix', 'install'),
		['-c', sandbox.configDirectory, '-s', 'another', '-p', join(sandbox.directory, 'another')],
		{cwd: '/'},
	);
	t.is(status, 0);
	await sandbox.postconf('tlsproxy_service_name', 'another');
	t.regex(doctor(pair), /The running master\(8\) does not listen for another\/unix/);
	await sandbox.reload();
	t.true(await sandbox.waitFor(() => doctor(pair) === ''));

	/* Like dpkg(1): a new file replaces the old one. */
	t.is((await deliver(pair, 4, 60_000)).encrypted, 8);
	const main = join(sandbox.directory, 'another', 'lib', 'main.js');
	await new Promise(resolve => setTimeout(resolve, 3100));
	cpSync(main, `${main}.new`, {preserveTimestamps: true});
	rmSync(main);
	renameSync(`${main}.new`, main);
	t.regex(doctor(pair), /The program was replaced after these processes were started: tlsproxy\[\d+\]/);
	await sandbox.reload();
	t.true(await sandbox.waitFor(() => doctor(pair) === ''));
});
