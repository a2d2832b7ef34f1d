import test from 'ava';
import {releaseFeatures} from '../../src/conf/release.ts';
import {AttributeFramer} from '../../src/wire/attribute-list.ts';
import {type HandshakeReport, printReport} from '../../src/wire/handshake-report.ts';
import {handshakeReportFields} from '../../src/wire/messages.ts';
import {parseReport} from '../helpers/wire.ts';

const features = releaseFeatures('3.12');
const report = Object.fromEntries(
	handshakeReportFields.map(({attr, type}) => [attr, type === 'int' ? 1 : `value of ${attr}`]),
) as unknown as HandshakeReport;

function roundTrip(original: HandshakeReport): HandshakeReport {
	const framed = new AttributeFramer().push(printReport(original, features));
	return parseReport(framed?.list ?? [], features);
}

test('line feeds are replaced: smtp(8) stores a report in a record of lines', t => {
	t.deepEqual(roundTrip(report), report);
	t.deepEqual(roundTrip({...report, peer_CN: 'a\nb\n', issuer_CN: '\r'}), {
		...report,
		peer_CN: 'a?b?',
		issuer_CN: '\r',
	});
});
