import signal, time, pytest
from pathlib import Path
from scorer.local.kafka import running_kafka
import scorer.local.kafka as K
from scorer.local.process import send as send_signal
from tests.harness.kafka import emptied, required
from tests.harness.lead_stream import lead_stream
from tests.harness.workers import worker
pytestmark = pytest.mark.timeout(400)

@pytest.mark.parametrize("how", ["freeze-idle", "stop-load", "freeze-load"])
def test_probe(how, registry, tmp_path_factory, tmp_path):
    with emptied(tmp_path_factory.mktemp("broker")) as folder, running_kafka(folder) as broker:
        with lead_stream(broker.address, registry, tmp_path, delete=False) as leads, worker(leads.settings(shutdown={"grace_ms_max": 4000})) as running:
            running.wait_ready()
            leads.send(20000)
            if "idle" in how:
                running.until(lambda: running.metric("scorer_records_consumed_total") == 20000, "done")
                time.sleep(1)
            else:
                running.until(lambda: running.metric("scorer_records_consumed_total") > 1000, "at work")
            if "stop" in how: broker.kill()
            else: send_signal(broker.mark, signal.SIGSTOP)
            time.sleep(1)
            t=time.monotonic()
            running.signal(signal.SIGTERM)
            try:
                code = running.wait(30)
            except Exception as e:
                code = repr(e)[:50]
            with open("/tmp/dev/probe.txt","a") as f: print(how, code, time.monotonic()-t, file=f)
            if "freeze" in how: send_signal(broker.mark, signal.SIGCONT)
