/*
 * Told of another release than the one that its clients belong to, the program must
 * not answer what they could misread: it says loudly what is wrong, and closes.
 */
import {join} from 'node:path';
import test, {type ExecutionContext} from 'ava';
import {mailVersion} from '../../postfix/lib/instance.ts';
import {releaseFeatures} from '../../src/conf/release.ts';
import {LocalClient, recordedSettings} from '../helpers/client.ts';
import {Daemon, statusOf} from '../helpers/daemon.ts';
import {connectTo} from '../helpers/openssl.ts';
import {tcpPeer} from '../helpers/peer.ts';
import {minorRelease} from '../helpers/release.ts';
import {printClientSettings} from '../helpers/wire.ts';

const own = releaseFeatures(mailVersion());

/* Defaults that are empty in newer releases, which older ones do not start with. */
const notEmpty = {tls_export_cipherlist: 'DEFAULT', tls_low_cipherlist: 'DEFAULT'};

/* What older releases have and the installed one has not, or the other way round. */
const older = {tlsproxy_client_level: 'may', tlsproxy_client_policy: 'static:x'};

/** What comes back of a request from a client of the installed release, and what the log says. */
async function answerOf(t: ExecutionContext, forced: string) {
	const main = {mail_version: forced, ...notEmpty};
	await using daemon = await Daemon.start('ours', {
		main,
		copies: {other: minorRelease(forced) < 7 ? older : {}},
	});
	const client = await LocalClient.connect(join(daemon.sandbox.queueDirectory, 'private', 'other'));
	t.teardown(() => client[Symbol.dispose]());
	const [request, settings] = daemon.messages('[127.0.0.1]:25');
	/* A client that is to be greeted waits; one that is not does not read a greeting. */
	const greeted = releaseFeatures(forced).greeting && (await client.list()) !== undefined;
	await client.send(request);
	await client.send(settings);
	const answer = await client.rest();
	await daemon.sandbox.waitFor(async () =>
		(await daemon.lines()).some(line => /^(warning|fatal): .*Postfix/.test(line)),
	);
	return {greeted, answer: String(answer), lines: await daemon.lines()};
}

/* Releases of every format but our own. */
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
	/* Where one of both would wait for the other to speak first, time limits end it. */
	const differs =
		releaseFeatures(other).format !== own.format && releaseFeatures(other).greeting === own.greeting;
	const sameRequest =
		['3.4', '3.6'].includes(own.format) && ['3.4', '3.6'].includes(releaseFeatures(other).format);
	const sameLate =
		['3.5.20', '3.6.10'].includes(own.format) && ['3.5.20', '3.6.10'].includes(releaseFeatures(other).format);
	if (differs && !sameRequest && !sameLate) {
		test(`clients of Postfix ${own.release} get no answer of a program that was told ${other}`, async t => {
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
 * Where one of both would wait for the other to speak first, or speaks when it should
 * wait, neither must wait for long: smtp(8) has no time limit for the greeting.
 */
for (const other of ['3.4.29', '3.5.25', '3.7.11', '3.11.7']) {
	if (releaseFeatures(other).greeting === own.greeting) {
		continue;
	}

	test(`clients of Postfix ${own.release} soon hear the end of a program that was told ${other}`, async t => {
		await using daemon = await Daemon.start('ours', {
			main: {mail_version: other, ...notEmpty, ...(own.greeting ? {compatibility_level: '2'} : {})},
			copies: {other: own.greeting ? older : {}},
		});
		const client = await LocalClient.connect(join(daemon.sandbox.queueDirectory, 'private', 'other'));
		t.teardown(() => client[Symbol.dispose]());
		if (own.greeting) {
			/* What stock's client does: it has nothing to say before it is greeted. */
			t.is(await client.list(), undefined);
			for (const words of [
				'warning: clients of Postfix 3.6 or later wait for a greeting',
				`Postfix ${other}, which is the installed release according to mail_version`,
			]) {
				t.true(
					await daemon.sandbox.waitFor(async () => (await daemon.lines()).some(line => line.includes(words))),
					(await daemon.lines()).join('\n'),
				);
			}
		} else {
			for (const message of daemon.messages('[127.0.0.1]:25')) {
				await client.send(message);
			}

			/* It wants a status, and what it gets cannot be taken for one. */
			t.deepEqual(await client.list(), [['protocol', 'tlsproxy_protocol']]);
			client.socket.end();
			const end = 'DISCONNECT [127.0.0.1]:25';
			t.true(await daemon.sandbox.waitFor(async () => (await daemon.lines()).includes(end)));
		}

		t.false((await daemon.lines()).some(line => line.includes('connection established')));
	});
}

/* A client that speaks first does not hear the greeting of the newest. */
const newer = own.greeting ? ['3.13.0', '3.99.1', '4.0.0'] : [];
for (const told of newer) {
	test(`${told}, which nobody knows yet, is taken for the newest, with a warning; requests that do not fit end it`, async t => {
		const {answer, lines} = await answerOf(t, told);
		t.is(
			lines.filter(line => line.startsWith(`warning: Postfix ${told} is newer than every release`)).length,
			1,
		);
		if (own.format === '3.12') {
			t.not(answer, '');
		} else {
			t.is(answer, '');
			t.true(
				lines.some(line =>
					line.startsWith(`fatal: Postfix ${told} does not use the protocol of Postfix 3.12`),
				),
				lines.join('\n'),
			);
		}
	});
}

if (own.greeting && own.format !== '3.12') {
	test('where requests of a release that nobody knows have fitted, those that do not end alone', async t => {
		const told = '3.13.0';
		await using daemon = await Daemon.start('ours', {main: {mail_version: told}}, told);
		const server = await tcpPeer(t, () => undefined);
		const first = await daemon.greeted(t);
		const [request, settings] = daemon.messages(`[127.0.0.1]:${server}`, {
			params: {tls_eecdh_auto_curves: 'prime256v1', tls_ffdhe_auto_groups: ''},
		});
		await first.send(request);
		await first.send(settings);
		t.is(statusOf(await first.list()), 1);
		/* Another, of the release that is installed. */
		const second = await daemon.greeted(t);
		await second.send(request);
		await second.send(printClientSettings(recordedSettings(own), own));
		t.is(String(await second.rest()), '');
		const line = `warning: Postfix ${told} does not use the protocol of Postfix 3.12, the newest release`;
		t.true(
			await daemon.sandbox.waitFor(async () => (await daemon.lines()).some(text => text.startsWith(line))),
		);
		/* The first goes on. */
		const fd = connectTo(t, server);
		first.pass(fd.value);
		fd[Symbol.dispose]();
		t.false(first.ended);
		t.false((await daemon.lines()).some(text => text.startsWith('fatal: ')));
	});
}
