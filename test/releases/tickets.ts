/*
 * What 3.11 changed about tickets: of those that a server gives only the first is
 * kept, and a session is called one of a ticket only if it was in one.
 */
import test from 'ava';
import {Both} from '../helpers/both.ts';
import {type Case, put} from '../helpers/differential.ts';
import {minorRelease} from '../helpers/release.ts';
import {visit} from '../helpers/server-differential.ts';

const late = minorRelease() >= 11;

const both = new Both();
const {lab, peers} = both;
test.before(async () => {
	await both.start({
		smtp_tls_CAfile: lab.path('root.cert'),
		smtp_tls_session_cache_database: 'btree:${data_directory}/smtp_scache',
		smtpd_tls_security_level: 'may',
		smtpd_tls_chain_files: lab.path('good.pem'),
		smtpd_tls_session_cache_database: 'btree:${data_directory}/smtpd_scache',
		smtpd_tls_loglevel: 'summary,cache',
	});
});
test.after.always(async () => await both[Symbol.asyncDispose]());

/* A session that the server has kept, and that goes into a ticket when the client takes one. */
const TICKET = ' (RFC 5077 session ticket)';
for (const [id, first, second, ticketed] of [
	['kept, and then a ticket', '-tls1_2 -no_ticket', '-tls1_2', !late],
	['kept', '-tls1_2 -no_ticket', '-tls1_2 -no_ticket', false],
	['in a ticket', '-tls1_2', '-tls1_2', true],
	['in a ticket of TLSv1.3', '-tls1_3', '-tls1_3', true],
] as const) {
	test.serial(`a session that was ${id}: as with stock`, async t => {
		const item = {id: id.replaceAll(/\W/g, ''), client: first, again: {client: second}};
		const visits = await visit(t, both.stock, lab, item);
		t.deepEqual(await visit(t, both.ours, lab, item), visits);
		const reused = visits[1]?.lines.filter(line => line.startsWith('[PEER]: Reusing old session'));
		t.deepEqual(reused, [`[PEER]: Reusing old session${ticketed ? TICKET : ''}`]);
	});
}

for (const count of [1, 2, 4]) {
	const kept = late ? 1 : count;
	test.serial(`of ${count} tickets that a server gives ${kept} are kept: as with stock`, async t => {
		const item: Case = {
			id: `given-${count}`,
			level: 'encrypt',
			server: 'good',
			arguments: `-tls1_3 -num_tickets ${count}`,
			/* Its default depends on the release, and is in our names of sessions. */
			init: {log_level: 'summary,cache', mdalg: 'sha256'},
		};
		const expected = await put(t, both.stock, peers, lab, item);
		t.deepEqual(await put(t, both.ours, peers, lab, item), expected);
		for (const daemon of [both.ours, both.stock]) {
			const saved = (await daemon.lines()).filter(line => line.startsWith(`save session smtp&${item.id}&`));
			t.is(saved.length, kept);
		}
	});
}
