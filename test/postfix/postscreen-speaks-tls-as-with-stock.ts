/*
 * Neither a remote client that talks to postscreen(8) over TLS, nor a program that reads the
 * log, can distinguish this tlsproxy(8) from stock.
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
import {connect} from 'node:net';
import {tmpdir} from 'node:os';
import {dirname, join} from 'node:path';
import {connect as connectTls} from 'node:tls';
import test from 'ava';
import {execa} from 'execa';
import {inject} from '../../postfix/lib/inject.ts';
import {Sandbox} from '../../postfix/lib/sandbox.ts';
import {makeLab} from '../helpers/lab.ts';
import {type Extracted, extract} from '../helpers/packages.ts';
import {Postscreen} from '../helpers/postscreen.ts';
import {SmtpClient} from '../helpers/smtp-client.ts';

const lab = makeLab();

let ours: Postscreen;
let stock: Postscreen;
test.before(async () => {
	const main = {max_use: '100000', smtpd_tls_chain_files: lab.path('good.pem')};
	[ours, stock] = await Promise.all([Postscreen.start('ours', {main}), Postscreen.start('stock', {main})]);
});
test.after.always(async () => {
	await Promise.all([ours[Symbol.asyncDispose](), stock[Symbol.asyncDispose]()]);
	lab[Symbol.dispose]();
});

/** Log lines about the last client. */
async function linesOf(screen: Postscreen, program: string): Promise<readonly string[]> {
	const last = async () => {
		const lines = await screen.lines(program);
		return lines.slice(lines.findLastIndex(line => line.startsWith('CONNECT from ')));
	};
	await screen.daemon.sandbox.waitFor(async () => (await last()).some(line => line.startsWith('DISCONNECT')));
	return (await last()).map(line => mask(line, screen));
}

function mask(text: string, screen: Postscreen): string {
	return text
		.replaceAll(String(screen.port), 'PORT')
		.replaceAll(/\[127\.0\.0\.1\]:\d+/g, '[PEER]')
		.replaceAll(/after [\d.]+ /g, 'after TIME ');
}

/** Runs the same client with both programs. Compares its output and the logs. */
const visits = test.macro(
	async (t, run: (screen: Postscreen) => Promise<readonly string[]>, output: RegExp, logged: RegExp) => {
		const seen = (await run(ours)).map(line => mask(line, ours));
		t.deepEqual(
			seen,
			(await run(stock)).map(line => mask(line, stock)),
		);
		t.regex(seen.join('\n'), output);
		for (const program of ['tlsproxy', 'postscreen']) {
			t.deepEqual(await linesOf(ours, program), await linesOf(stock, program));
		}

		t.regex((await linesOf(ours, 'tlsproxy')).join('\n'), logged);
	},
);
const established =
	/^CONNECT from \[PEER\]\n(Anonymous|Untrusted) TLS connection established from .*\nDISCONNECT \[PEER\]$/;
const tryLater = /450 4\.3\.2 Service currently unavailable/;

async function dialogue(screen: Postscreen): Promise<readonly string[]> {
	const socket = connect({port: screen.port, host: '127.0.0.1'});
	const plain = new SmtpClient(socket);
	await plain.send();
	await plain.send('EHLO client.example');
	await plain.send('STARTTLS');
	socket.removeAllListeners('data');
	const tls = connectTls({socket, ca: lab.read('root.cert'), servername: 'mx.example.com'});
	await once(tls, 'secureConnect');
	const secure = new SmtpClient(tls);
	const commands = ['MAIL FROM:<a@client.example>', 'RCPT TO:<b@example.com>', 'RSET', 'QUIT'];
	for (const command of ['EHLO client.example', ...commands]) {
		await secure.send(command);
	}

	tls.destroy();
	return [...plain.transcript, ...secure.transcript];
}

test.serial('a dialogue, line by line', visits, dialogue, tryLater, established);

/* Postfix discards such commands, or the handshake fails since they are not a ClientHello. */
test.serial(
	'commands that are sent together with STARTTLS are not answered, before or after the handshake',
	visits,
	async screen => {
		const socket = connect({port: screen.port, host: '127.0.0.1'});
		const plain = new SmtpClient(socket);
		await plain.send();
		await plain.send('EHLO client.example');
		let text = '';
		socket.setEncoding('latin1').on('data', (received: string) => {
			text += received;
		});
		socket.write('STARTTLS\r\nRSET\r\nMAIL FROM:<injected@client.example>\r\n');
		/* A server that waits for a ClientHello sends nothing more. */
		socket.setTimeout(10_000, () => socket.destroy());
		await once(socket, 'close');
		return [...plain.transcript, text];
	},
	/^(220|5\d\d) /m,
	/DISCONNECT/,
);

test.serial(
	'openssl s_client',
	visits,
	async screen => {
		const args = ['-starttls', 'smtp', '-name', 'client.example', '-crlf', '-CAfile', lab.path('root.cert')];
		const child = spawn(
			'openssl',
			['s_client', '-connect', `127.0.0.1:${screen.port}`, ...args, '-quiet', '-verify_return_error'],
			{stdio: ['pipe', 'pipe', 'ignore']},
		);
		let output = '';
		child.stdout.setEncoding('latin1').on('data', (text: string) => {
			output += text;
		});
		for (const [command, reply] of [
			['EHLO client.example', /^250 CHUNKING/m],
			['MAIL FROM:<a@client.example>', /^250 2\.1\.0/m],
			['RCPT TO:<b@example.com>', /^450 /m],
			['QUIT', /^221 /m],
		] as const) {
			const before = output.length;
			child.stdin.write(`${command}\n`);
			if (!(await screen.daemon.sandbox.waitFor(() => reply.test(output.slice(before))))) {
				throw new Error(`no reply to ${command}: ${output}`);
			}
		}

		child.kill();
		return output.split('\r\n');
	},
	tryLater,
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
		const args = ['--tls', '--from', 'a@client.example', '--to', 'b@example.com', '--helo', 'client.example'];
		const {stdout} = await execa(
			'perl',
			[program, '--server', '127.0.0.1', '--port', String(screen.port), ...args],
			{env: {...swaks.environment, PERL5LIB: modules.join(':')}, reject: false},
		);
		return stdout.split('\n');
	},
	tryLater,
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
	tryLater,
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
	tryLater,
	established,
);

const EXIM_UID = 64_999;

/*
 * Exim needs an account, which a mount namespace provides. It executes itself again as that
 * account, so the program and its libraries must be readable for it.
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
	const args = ['-C', configuration, '-v', '-odf', '-oi', '-f', 'a@client.example', 'b@example.com'];
	const {all} = await execa(
		'unshare',
		['--mount', 'sh', '-c', script, 'sh', passwd, group, program, ...args],
		{
			env: {LD_LIBRARY_PATH: libraries},
			reject: false,
			all: true,
			input: 'Subject: hello\n\nhello\n',
			timeout: 60_000,
		},
	);
	/* The dialogue, without message IDs. Exim may disconnect after QUIT before the reply. */
	return all
		.split('\n')
		.filter(line => /^ +SMTP[<>]{2}|^ {10}|TLS/.test(line) && !line.includes('<< 221 '))
		.map(line => line.replace(/^(cmdlog: .*:QUIT\+):221'$/, "$1'"));
}
