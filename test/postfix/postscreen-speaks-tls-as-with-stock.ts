/*
 * A remote client that talks to postscreen(8) over TLS cannot tell which tlsproxy(8)
 * is behind it, nor can a program that reads the log.
 */
import {once} from 'node:events';
import {connect} from 'node:net';
import {createInterface} from 'node:readline';
import {connect as connectTls, type TLSSocket} from 'node:tls';
import test from 'ava';
import {makeLab} from '../helpers/lab.ts';
import {Screen} from '../helpers/postscreen.ts';

const lab = makeLab();
lab.write('good.chain.pem', lab.read('good.key'), lab.read('good.cert'), lab.read('int.cert'));

let ours: Screen;
let stock: Screen;
test.before(async () => {
	const main = {max_use: '100000', smtpd_tls_chain_files: lab.path('good.chain.pem')};
	[ours, stock] = await Promise.all([Screen.start('ours', {main}), Screen.start('stock', {main})]);
});
test.after.always(async () => {
	await Promise.all([ours[Symbol.asyncDispose](), stock[Symbol.asyncDispose]()]);
	lab[Symbol.dispose]();
});

/** A dialogue, line by line: what the client says, and what it hears. */
async function dialogue(screen: Screen): Promise<readonly string[]> {
	const heard: string[] = [];
	const plain = connect({port: screen.port, host: '127.0.0.1'});
	const replies = createInterface({input: plain})[Symbol.asyncIterator]();
	await say(plain, replies, heard);
	await say(plain, replies, heard, 'EHLO client.example');
	await say(plain, replies, heard, 'STARTTLS');
	plain.removeAllListeners('data');
	const socket = connectTls({socket: plain, ca: lab.read('root.cert'), servername: 'mx.example.com'});
	await once(socket, 'secureConnect');
	const secure = createInterface({input: socket})[Symbol.asyncIterator]();
	for (const command of [
		'EHLO client.example',
		'MAIL FROM:<a@client.example>',
		'RCPT TO:<b@example.com>',
		'RSET',
		'QUIT',
	]) {
		await say(socket, secure, heard, command);
	}

	socket.destroy();
	return heard;
}

async function say(
	socket: TLSSocket | ReturnType<typeof connect>,
	replies: AsyncIterator<string>,
	heard: string[],
	command?: string,
): Promise<void> {
	if (command !== undefined) {
		heard.push(`> ${command}`);
		socket.write(`${command}\r\n`);
	}

	for (;;) {
		const {value, done} = await replies.next();
		if (done === true) {
			heard.push('end');
			return;
		}

		heard.push(value);
		if (value[3] !== '-') {
			return;
		}
	}
}

/** What is logged about the last client. */
async function linesOf(screen: Screen, program: string): Promise<readonly string[]> {
	const lines = await screen.lines(program);
	const first = lines.findLastIndex(line => line.startsWith('CONNECT from '));
	return lines
		.slice(first)
		.map(line => line.replaceAll(/\[127\.0\.0\.1\]:\d+/g, '[PEER]').replace(/after [\d.]+ /, 'after TIME '));
}

test.serial('the dialogue and the log of one client', async t => {
	const [mine, theirs] = [await dialogue(ours), await dialogue(stock)];
	t.deepEqual(mine, theirs);
	t.true(theirs.includes('220 2.0.0 Ready to start TLS'));
	for (const program of ['tlsproxy', 'postscreen']) {
		for (const screen of [ours, stock]) {
			await screen.daemon.sandbox.waitFor(async () =>
				(await linesOf(screen, program)).some(line => line.startsWith('DISCONNECT')),
			);
		}

		t.deepEqual(await linesOf(ours, program), await linesOf(stock, program));
	}
});
