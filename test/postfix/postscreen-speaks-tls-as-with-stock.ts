/*
 * A remote client that talks to postscreen(8) over TLS cannot tell which tlsproxy(8)
 * is behind it, nor can a program that reads the log.
 */
import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {
	chmodSync,
	chownSync,
	copyFileSync,
	cpSync,
	globSync,
	mkdirSync,
	mkdtempSync,
	readFileSync,
	rmSync,
	writeFileSync,
} from 'node:fs';
import {connect, type Socket} from 'node:net';
import {tmpdir} from 'node:os';
import {dirname, join} from 'node:path';
import {createInterface} from 'node:readline';
import {connect as connectTls} from 'node:tls';
import test from 'ava';
import {execa} from 'execa';
import {inject} from '../../postfix/lib/inject.ts';
import {Sandbox} from '../../postfix/lib/sandbox.ts';
import {makeLab} from '../helpers/lab.ts';
import {type Extracted, extract} from '../helpers/packages.ts';
import {Screen} from '../helpers/postscreen.ts';

const lab = makeLab();

let ours: Screen;
let stock: Screen;
test.before(async () => {
	const main = {max_use: '100000', smtpd_tls_chain_files: lab.path('good.pem')};
	[ours, stock] = await Promise.all([Screen.start('ours', {main}), Screen.start('stock', {main})]);
});
test.after.always(async () => {
	await Promise.all([ours[Symbol.asyncDispose](), stock[Symbol.asyncDispose]()]);
	lab[Symbol.dispose]();
});

/** What is logged about the last client. */
async function linesOf(screen: Screen, program: string): Promise<readonly string[]> {
	const last = async () => {
		const lines = await screen.lines(program);
		return lines.slice(lines.findLastIndex(line => line.startsWith('CONNECT from ')));
	};
	await screen.daemon.sandbox.waitFor(async () => (await last()).some(line => line.startsWith('DISCONNECT')));
	return (await last()).map(line => mask(line, screen));
}

function mask(text: string, screen: Screen): string {
	return text
		.replaceAll(String(screen.port), 'PORT')
		.replaceAll(/\[127\.0\.0\.1\]:\d+/g, '[PEER]')
		.replaceAll(/after [\d.]+ /g, 'after TIME ');
}

/** One client after the other, at both; what it has seen, and both logs. */
const visits = test.macro(
	async (t, run: (screen: Screen) => Promise<readonly string[]>, mustSee: RegExp, mustLog: RegExp) => {
		const seen = (await run(ours)).map(line => mask(line, ours));
		t.deepEqual(
			seen,
			(await run(stock)).map(line => mask(line, stock)),
		);
		t.regex(seen.join('\n'), mustSee);
		for (const program of ['tlsproxy', 'postscreen']) {
			t.deepEqual(await linesOf(ours, program), await linesOf(stock, program));
		}

		t.regex((await linesOf(ours, 'tlsproxy')).join('\n'), mustLog);
	},
);
const established =
	/^CONNECT from \[PEER\]\n(Anonymous|Untrusted) TLS connection established from .*\nDISCONNECT \[PEER\]$/;
const laterPlease = /450 4\.3\.2 Service currently unavailable/;

/** A client that speaks line by line. */
class Speaker {
	readonly heard: string[] = [];
	readonly #socket: Socket;
	readonly #replies: AsyncIterator<string>;

	constructor(socket: Socket) {
		this.#socket = socket;
		this.#replies = createInterface({input: socket})[Symbol.asyncIterator]();
	}

	async say(command?: string): Promise<void> {
		if (command !== undefined) {
			this.heard.push(`> ${command}`);
			this.#socket.write(`${command}\r\n`);
		}

		for (;;) {
			const {value, done} = await this.#replies.next();
			this.heard.push(done === true ? 'end' : value);
			if (done === true || value[3] !== '-') {
				return;
			}
		}
	}
}

async function dialogue(screen: Screen): Promise<readonly string[]> {
	const socket = connect({port: screen.port, host: '127.0.0.1'});
	const plain = new Speaker(socket);
	await plain.say();
	await plain.say('EHLO client.example');
	await plain.say('STARTTLS');
	socket.removeAllListeners('data');
	const tls = connectTls({socket, ca: lab.read('root.cert'), servername: 'mx.example.com'});
	await once(tls, 'secureConnect');
	const secure = new Speaker(tls);
	const commands = ['MAIL FROM:<a@client.example>', 'RCPT TO:<b@example.com>', 'RSET', 'QUIT'];
	for (const command of ['EHLO client.example', ...commands]) {
		await secure.say(command);
	}

	tls.destroy();
	return [...plain.heard, ...secure.heard];
}

test.serial('a dialogue, line by line', visits, dialogue, laterPlease, established);

/* Postfix takes care that nothing of it survives; what comes before the hello is no hello. */
test.serial(
	'commands that are sent together with STARTTLS are not answered, before or after the handshake',
	visits,
	async screen => {
		const socket = connect({port: screen.port, host: '127.0.0.1'});
		const plain = new Speaker(socket);
		await plain.say();
		await plain.say('EHLO client.example');
		let text = '';
		socket.setEncoding('latin1').on('data', (received: string) => {
			text += received;
		});
		socket.write('STARTTLS\r\nRSET\r\nMAIL FROM:<injected@client.example>\r\n');
		/* Whoever waits for a hello waits for longer than that. */
		socket.setTimeout(3000, () => socket.destroy());
		await once(socket, 'close');
		return [...plain.heard, text];
	},
	/^(220|5\d\d) /m,
	/DISCONNECT/,
);

test.serial(
	'openssl s_client',
	visits,
	async screen => {
		const words = ['-starttls', 'smtp', '-name', 'client.example', '-crlf', '-CAfile', lab.path('root.cert')];
		const child = spawn(
			'openssl',
			['s_client', '-connect', `127.0.0.1:${screen.port}`, ...words, '-quiet', '-verify_return_error'],
			{stdio: ['pipe', 'pipe', 'ignore']},
		);
		let heard = '';
		child.stdout.setEncoding('latin1').on('data', (text: string) => {
			heard += text;
		});
		for (const [command, reply] of [
			['EHLO client.example', /^250 CHUNKING/m],
			['MAIL FROM:<a@client.example>', /^250 2\.1\.0/m],
			['RCPT TO:<b@example.com>', /^450 /m],
			['QUIT', /^221 /m],
		] as const) {
			const before = heard.length;
			child.stdin.write(`${command}\n`);
			if (!(await screen.daemon.sandbox.waitFor(() => reply.test(heard.slice(before))))) {
				throw new Error(`no reply to ${command}: ${heard}`);
			}
		}

		child.kill();
		return heard.split('\r\n');
	},
	laterPlease,
	established,
);

test.serial(
	'swaks',
	visits,
	async screen => {
		const swaks = await extract('swaks', 'libnet-ssleay-perl');
		const program = swaks.program('swaks');
		const root = join(dirname(program), '..');
		const modules = ['lib/*/perl5/*', 'share/perl5', 'lib/*/perl/5*', 'share/perl/5*'].flatMap(place =>
			globSync(join(root, place)),
		);
		const words = [
			'--tls',
			'--from',
			'a@client.example',
			'--to',
			'b@example.com',
			'--helo',
			'client.example',
		];
		const {stdout} = await execa(
			'perl',
			[program, '--server', '127.0.0.1', '--port', String(screen.port), ...words],
			{env: {...swaks.environment, PERL5LIB: modules.join(':')}, reject: false},
		);
		return stdout.split('\n');
	},
	laterPlease,
	established,
);

test.serial(
	'smtp(8)',
	visits,
	async screen => {
		await using sender = await Sandbox.create({
			tlsproxy: 'none',
			main: {
				relayhost: `[127.0.0.1]:${screen.port}`,
				smtp_tls_security_level: 'encrypt',
				smtp_tls_loglevel: '1',
				smtp_tls_CAfile: lab.path('root.cert'),
			},
		});
		await sender.start();
		await inject(
			sender.submissionPort,
			[{from: 'a@client.example', to: 'b@example.com', text: 'hello\n'}],
			1,
		);
		const about = /postfix\/smtp\[\d+\]: /;
		if (!(await sender.waitFor(async () => (await sender.log()).includes('status=deferred')))) {
			throw new Error(await sender.log());
		}

		return (await sender.logLines(about)).map(line =>
			line
				.replace(/^.*?postfix\/smtp\[\d+\]: (?:[\dA-F]+: )?/, '')
				.replaceAll(/delay=[\d.]+, delays=[\d./]+/g, 'DELAYS'),
		);
	},
	laterPlease,
	established,
);

test.serial(
	'Exim',
	visits,
	async screen => {
		const exim = await extract('exim4-daemon-light');
		const directory = mkdtempSync(join(tmpdir(), 'exim-'));
		try {
			return await deliver(exim, directory, screen.port);
		} finally {
			rmSync(directory, {recursive: true});
		}
	},
	laterPlease,
	established,
);

const EXIM_UID = 64_999;

/*
 * Exim wants an account of its own, which it gets in a mount namespace. It runs itself
 * again as that account: the program and its libraries have to be where it can read.
 */
async function deliver(exim: Extracted, directory: string, port: number): Promise<readonly string[]> {
	chmodSync(directory, 0o755);
	const program = join(directory, 'exim4');
	const libraries = join(directory, 'lib');
	copyFileSync(exim.program('exim4'), program);
	chmodSync(program, 0o755);
	for (const place of (exim.environment['LD_LIBRARY_PATH'] ?? '').split(':').filter(path => path !== '')) {
		cpSync(place, libraries, {recursive: true});
	}

	for (const name of ['spool', 'log']) {
		mkdirSync(join(directory, name));
		chownSync(join(directory, name), EXIM_UID, EXIM_UID);
	}

	const write = (name: string, text: string): string => {
		writeFileSync(join(directory, name), text);
		return join(directory, name);
	};
	const passwd = write(
		'passwd',
		`${readFileSync('/etc/passwd', 'utf8')}Debian-exim:x:${EXIM_UID}:${EXIM_UID}::/:/bin/false\n`,
	);
	const group = write('group', `${readFileSync('/etc/group', 'utf8')}Debian-exim:x:${EXIM_UID}:\n`);
	const configuration = write(
		'conf',
		[
			`spool_directory = ${directory}/spool`,
			`log_file_path = ${directory}/log/%slog`,
			'primary_hostname = client.example',
			'deliver_drop_privilege',
			'keep_environment = LD_LIBRARY_PATH',
			`exim_path = ${program}`,
			'begin routers',
			'all:',
			'  driver = manualroute',
			'  transport = remote',
			'  route_list = * 127.0.0.1',
			'  self = send',
			'begin transports',
			'remote:',
			'  driver = smtp',
			`  port = ${port}`,
			'  allow_localhost',
			'  hosts_require_tls = *',
			`  tls_verify_certificates = ${lab.path('root.cert')}`,
			'begin retry',
			'* * F,1h,5m',
			'',
		].join('\n'),
	);
	const script = 'mount --bind "$1" /etc/passwd && mount --bind "$2" /etc/group && shift 2 && exec "$@"';
	const words = ['-C', configuration, '-v', '-odf', '-oi', '-f', 'a@client.example', 'b@example.com'];
	const {all} = await execa(
		'unshare',
		['--mount', 'sh', '-c', script, 'sh', passwd, group, program, ...words],
		{
			env: {LD_LIBRARY_PATH: libraries},
			reject: false,
			all: true,
			input: 'Subject: hello\n\nhello\n',
			timeout: 60_000,
		},
	);
	/* What is said, and not what messages are called. Exim is gone after QUIT, with the reply or without. */
	return all
		.split('\n')
		.filter(line => /^ +SMTP[<>]{2}|^ {10}|TLS/.test(line) && !line.includes('<< 221 '))
		.map(line => line.replace(/^(cmdlog: .*:QUIT\+):221'$/, "$1'"));
}
