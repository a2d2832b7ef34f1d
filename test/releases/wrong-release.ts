/*
 * If mail_version is not that of its clients, the program must not send an answer that they
 * could misread: it logs the reason, and closes the connection.
 */
import {join} from 'node:path';
import test, {type ExecutionContext} from 'ava';
import {mailVersion} from '../../postfix/lib/instance.ts';
import {formats, releaseFeatures} from '../../src/conf/release.ts';
import {LocalClient, recordedSettings} from '../helpers/client.ts';
import {Daemon, statusOf} from '../helpers/daemon.ts';
import {connectTo} from '../helpers/openssl.ts';
import {minorRelease, newestMinor} from '../helpers/release.ts';
import {tcpPeer} from '../helpers/remote-servers.ts';
import {printClientSettings} from '../helpers/wire.ts';

const installed = releaseFeatures(mailVersion());

/* Parameters that are empty in newer releases, while older ones require a value. */
const notEmpty = {tls_export_cipherlist: 'DEFAULT', tls_low_cipherlist: 'DEFAULT'};

/* Parameters that differ between the installed release and older ones. */
const older = {tlsproxy_client_level: 'may', tlsproxy_client_policy: 'static:x'};

/** The answer to a request of the installed release, and the log lines. */
async function answerOf(t: ExecutionContext, forced: string) {
	const main = {mail_version: forced, ...notEmpty};
	await using daemon = await Daemon.start('ours', {
		main,
		copies: {other: minorRelease(forced) < 7 ? older : {}},
	});
	const client = await LocalClient.connect(join(daemon.sandbox.queueDirectory, 'private', 'other'));
	t.teardown(() => client[Symbol.dispose]());
	const [request, settings] = daemon.messages('[127.0.0.1]:25');
	/* A client waits for the greeting if its release has one. */
	const greeted = releaseFeatures(forced).greeting && (await client.list()) !== undefined;
	await client.send(request);
	await client.send(settings);
	const answer = await client.rest();
	await daemon.sandbox.waitFor(async () =>
		(await daemon.lines()).some(line => /^(warning|fatal): .*Postfix/.test(line)),
	);
	return {greeted, answer: String(answer), lines: await daemon.lines()};
}

/* Releases of all other formats. */
for (const other of [
	'3.4.29',
	'3.5.25',
	'3.6.20',
	'3.7.11',
	'3.8.0',
	'3.8.20',
	'3.9.14',
	'3.10.13',
	'3.11.7',
	'3.12-20260821',
]) {
	/* If each side waits for the other to send first, time limits end the connection. */
	const differs =
		releaseFeatures(other).format !== installed.format &&
		releaseFeatures(other).greeting === installed.greeting;
	const sameRequest =
		['3.4', '3.6'].includes(installed.format) && ['3.4', '3.6'].includes(releaseFeatures(other).format);
	const sameLate =
		['3.5.20', '3.6.10'].includes(installed.format) &&
		['3.5.20', '3.6.10'].includes(releaseFeatures(other).format);
	if (differs && !sameRequest && !sameLate) {
		test(`clients of Postfix ${installed.release} get no answer from a program with mail_version ${other}`, async t => {
			const {answer, lines} = await answerOf(t, other);
			t.is(answer, '');
			t.true(
				lines.some(
					line =>
						line.startsWith('warning: ') && line.includes(`does not use the protocol of Postfix ${other},`),
				),
				lines.join('\n'),
			);
			t.false(lines.some(line => line.includes('connection established')));
		});
	}
}

/*
 * If one side expects a greeting, and the other does not, neither must wait for long: smtp(8)
 * has no time limit for the greeting.
 */
for (const other of ['3.4.29', '3.5.25', '3.7.11', '3.11.7']) {
	if (releaseFeatures(other).greeting === installed.greeting) {
		continue;
	}

	test(`clients of Postfix ${installed.release} are soon disconnected by a program with mail_version ${other}`, async t => {
		await using daemon = await Daemon.start('ours', {
			main: {mail_version: other, ...notEmpty, ...(installed.greeting ? {compatibility_level: '2'} : {})},
			copies: {other: installed.greeting ? older : {}},
		});
		const client = await LocalClient.connect(join(daemon.sandbox.queueDirectory, 'private', 'other'));
		t.teardown(() => client[Symbol.dispose]());
		if (installed.greeting) {
			/* Like a stock client, it sends nothing before the greeting. */
			t.is(await client.list(), undefined);
			for (const text of [
				'warning: clients of Postfix 3.6 or later wait for a greeting',
				`Postfix ${other}, which is the installed release according to mail_version`,
			]) {
				t.true(
					await daemon.sandbox.waitFor(async () => (await daemon.lines()).some(line => line.includes(text))),
					(await daemon.lines()).join('\n'),
				);
			}
		} else {
			for (const message of daemon.messages('[127.0.0.1]:25')) {
				await client.send(message);
			}

			/* It expects a status, and must not mistake the answer for one. */
			t.deepEqual(await client.list(), [['protocol', 'tlsproxy_protocol']]);
			client.socket.end();
			const end = 'DISCONNECT [127.0.0.1]:25';
			t.true(await daemon.sandbox.waitFor(async () => (await daemon.lines()).includes(end)));
		}

		t.false((await daemon.lines()).some(line => line.includes('connection established')));
	});
}

const newestFormat = formats.at(-1) ?? '';
const unknownRelease = `3.${newestMinor + 1}.0`;

/* A client that sends first does not read the greeting of the newest release. */
const newer = installed.greeting ? [unknownRelease, '3.99.1', '4.0.0'] : [];
for (const unknown of newer) {
	test(`${unknown}, an unknown release, is treated as the newest one, with a warning; a process ends after requests that do not match`, async t => {
		const {answer, lines} = await answerOf(t, unknown);
		t.is(
			lines.filter(line => line.startsWith(`warning: Postfix ${unknown} is newer than every release`)).length,
			1,
		);
		if (installed.format === newestFormat) {
			t.not(answer, '');
		} else {
			t.is(answer, '');
			t.true(
				lines.some(line =>
					line.startsWith(`fatal: Postfix ${unknown} does not use the protocol of Postfix ${newestFormat}`),
				),
				lines.join('\n'),
			);
		}
	});
}

if (installed.greeting && installed.format !== newestFormat) {
	test('after matching requests of an unknown release, a request that does not match ends its session only', async t => {
		const unknown = unknownRelease;
		await using daemon = await Daemon.start('ours', {main: {mail_version: unknown}}, unknown);
		const server = await tcpPeer(t, () => undefined);
		const first = await daemon.greeted(t);
		const [request, settings] = daemon.messages(`[127.0.0.1]:${server}`, {
			params: {tls_eecdh_auto_curves: 'prime256v1', tls_ffdhe_auto_groups: ''},
		});
		await first.send(request);
		await first.send(settings);
		t.is(statusOf(await first.list()), 1);
		/* Another client, of the installed release. */
		const second = await daemon.greeted(t);
		await second.send(request);
		await second.send(printClientSettings(recordedSettings(installed), installed));
		t.is(String(await second.rest()), '');
		const line = `warning: Postfix ${unknown} does not use the protocol of Postfix ${newestFormat}, the newest release`;
		t.true(
			await daemon.sandbox.waitFor(async () => (await daemon.lines()).some(text => text.startsWith(line))),
		);
		/* The first session continues. */
		const fd = connectTo(t, server);
		first.pass(fd.value);
		fd[Symbol.dispose]();
		t.false(first.ended);
		t.false((await daemon.lines()).some(text => text.startsWith('fatal: ')));
	});
}
