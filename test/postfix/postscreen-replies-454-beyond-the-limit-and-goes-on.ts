/*
 * The limits of master.cf from end to end: whoever exceeds them hears what he would
 * hear if TLS were out of order for a moment, keeps his SMTP session, and may come
 * back. Others hear nothing of it.
 */
import {once} from 'node:events';
import {connect, type Socket} from 'node:net';
import {createInterface} from 'node:readline';
import test, {type ExecutionContext} from 'ava';
import {execa} from 'execa';
import {CertificateStore, ecdsa} from '../helpers/openssl.ts';
import {Screen} from '../helpers/postscreen.ts';

const store = new CertificateStore();
test.after.always(() => store[Symbol.dispose]());
store.make('server', {key: ecdsa});
store.write('chain.pem', store.read('server.key'), store.read('server.cert'));

/** A remote client that speaks SMTP from an address of this host. */
class Smtp {
	readonly #socket: Socket;
	readonly #lines: AsyncIterator<string>;

	private constructor(socket: Socket) {
		this.#socket = socket;
		this.#lines = createInterface({input: socket})[Symbol.asyncIterator]();
	}

	/** Connects, and says hello. */
	static async connect(t: ExecutionContext, port: number, localAddress: string): Promise<Smtp> {
		const socket = connect({port, host: '127.0.0.1', localAddress});
		t.teardown(() => socket.destroy());
		await once(socket, 'connect');
		const client = new Smtp(socket);
		t.regex(await client.#reply(), /^220 /);
		t.regex(await client.say('EHLO client.example'), /^250 /);
		return client;
	}

	/** Says something: the last line of the reply. */
	async say(command: string): Promise<string> {
		this.#socket.write(`${command}\r\n`);
		return await this.#reply();
	}

	hangUp(): void {
		this.#socket.destroy();
	}

	async #reply(): Promise<string> {
		for (;;) {
			const {value, done} = await this.#lines.next();
			if (done === true || value[3] !== '-') {
				return done === true ? 'end' : value;
			}
		}
	}
}

const READY = '220 2.0.0 Ready to start TLS';
const REFUSED = '454 4.7.0 TLS not available due to local problem';

test('a remote client beyond the limit hears 454 and goes on, another one starts TLS', async t => {
	await using screen = await Screen.start('ours', {
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
		await Smtp.connect(t, screen.port, '127.0.0.1'),
		await Smtp.connect(t, screen.port, '127.0.0.1'),
	];
	for (const client of silent) {
		t.is(await client.say('STARTTLS'), READY);
	}

	const refused = await Smtp.connect(t, screen.port, '127.0.0.1');
	t.is(await refused.say('STARTTLS'), REFUSED);
	t.regex(await refused.say('NOOP'), /^250 /);
	const other = await Smtp.connect(t, screen.port, '127.0.0.2');
	t.is(await other.say('STARTTLS'), READY);

	/* Who has been refused may come back, with the same connection or another. */
	silent[0]?.hangUp();
	const ends = async (): Promise<number> =>
		(await screen.lines('tlsproxy')).filter(line => line.startsWith('DISCONNECT ')).length;
	t.true(await sandbox.waitFor(async () => (await ends()) === 2));
	t.is(await refused.say('STARTTLS'), READY);
	const lines = (await screen.lines('tlsproxy')).filter(line => line.startsWith('warning: '));
	t.is(lines.length, 1, lines.join('\n'));
	t.regex(
		lines[0] ?? '',
		/^warning: TLS handshake concurrency limit exceeded: 3 from 127\.0\.0\.1, refused \[127\.0\.0\.1\]:\d+$/,
	);
});
