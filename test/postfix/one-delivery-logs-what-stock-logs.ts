/*
 * The tools of administrators match these lines. Both programs get the same delivery. Ports
 * and queue IDs are masked.
 */
import test from 'ava';
import {messages, SenderAndSink} from '../helpers/sender-and-sink.ts';

async function linesOf(tlsproxy: 'ours' | 'stock', level: string): Promise<readonly string[]> {
	await using pair = await SenderAndSink.start({
		tlsproxy,
		main: {smtp_tls_loglevel: level, smtp_connection_cache_time_limit: '1s'},
	});
	if (!(await pair.deliver(messages(1), 1))) {
		throw new Error(await pair.sandbox.log());
	}

	await pair.sandbox.waitFor(async () =>
		(await pair.proxyLines()).some(line => line.startsWith('DISCONNECT')),
	);
	return (await pair.proxyLines()).map(line =>
		line
			.replaceAll(String(pair.sink.port), 'PORT')
			.replaceAll(/(?:[\dA-F]{2}:){31}[\dA-F]{2}/g, 'FINGERPRINT'),
	);
}

for (const level of ['0', '1']) {
	test.serial(`one delivery at smtp_tls_loglevel ${level} logs the lines of stock, in order`, async t => {
		const stock = await linesOf('stock', level);
		t.true(stock.length >= 2, 'stock has logged nothing');
		t.deepEqual(await linesOf('ours', level), stock);
	});
}
