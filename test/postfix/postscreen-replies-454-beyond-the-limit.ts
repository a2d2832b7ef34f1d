/*
 * The handshake limits in master.cf from end to end. A client that exceeds a limit gets the
 * reply for a temporary TLS problem, keeps its SMTP session, and may try again. Other clients
 * are not affected.
 */
import {once} from 'node:events';
import {connect, type Socket} from 'node:net';
import test, {type ExecutionContext} from 'ava';
import {execa} from 'execa';
import {CertificateStore, ecdsa} from '../helpers/openssl.ts';
import {Postscreen} from '../helpers/postscreen.ts';
import {SmtpClient} from '../helpers/smtp-client.ts';

const store = new CertificateStore();
test.after.always(() => store[Symbol.dispose]());
store.make('server', {key: ecdsa});
store.write('chain.pem', store.read('server.key'), store.read('server.cert'));

/** A remote client at a local address that has sent EHLO. Its connection is closed at the end of the test. */
async function smtpClient(
	t: ExecutionContext,
	port: number,
	localAddress: string,
): Promise<{readonly client: SmtpClient; readonly socket: Socket}> {
	const socket = connect({port, host: '127.0.0.1', localAddress});
	t.teardown(() => socket.destroy());
	await once(socket, 'connect');
	const client = new SmtpClient(socket);
	t.regex(await client.send(), /^220 /);
	t.regex(await client.send('EHLO client.example'), /^250 /);
	return {client, socket};
}

const READY = '220 2.0.0 Ready to start TLS';
const REFUSED = '454 4.7.0 TLS not available due to local problem';

test('a remote client beyond the limit gets 454 and continues, another client starts TLS', async t => {
	await using screen = await Postscreen.start('ours', {
		main: {smtpd_tls_chain_files: store.path('chain.pem')},
	});
	const {sandbox} = screen.daemon;
	const field = 'tlsproxy/unix/command';
	const {stdout: command} = await execa`postconf -c ${sandbox.configDirectory} -Fh ${field}`;
	await execa('postconf', [
		'-c',
		sandbox.configDirectory,
		'-F',
		`${field}=${command} client_handshake_count_limit=2`,
	]);
	await sandbox.reload();

	const silent = [
		await smtpClient(t, screen.port, '127.0.0.1'),
		await smtpClient(t, screen.port, '127.0.0.1'),
	];
	for (const {client} of silent) {
		t.is(await client.send('STARTTLS'), READY);
	}

	const {client: refused} = await smtpClient(t, screen.port, '127.0.0.1');
	t.is(await refused.send('STARTTLS'), REFUSED);
	t.regex(await refused.send('NOOP'), /^250 /);
	const {client: other} = await smtpClient(t, screen.port, '127.0.0.2');
	t.is(await other.send('STARTTLS'), READY);

	/* A refused client may try again, on the same connection or on another one. */
	silent[0]?.socket.destroy();
	const ends = async (): Promise<number> =>
		(await screen.lines('tlsproxy')).filter(line => line.startsWith('DISCONNECT ')).length;
	t.true(await sandbox.waitFor(async () => (await ends()) === 2));
	t.is(await refused.send('STARTTLS'), READY);
	const lines = (await screen.lines('tlsproxy')).filter(line => line.startsWith('warning: '));
	t.is(lines.length, 1, lines.join('\n'));
	t.regex(
		lines[0] ?? '',
		/^warning: TLS handshake concurrency limit exceeded: 3 from 127\.0\.0\.1, refused \[127\.0\.0\.1\]:\d+$/,
	);
});
