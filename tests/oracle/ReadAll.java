// Reads a whole topic with Kafka's Java consumer and Avro's Java decoder, and prints each record as a line of JSON.
// The arguments and what they mean are java_reader.py's, which starts it.

import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.json.JsonWriteFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.BufferedOutputStream;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericEnumSymbol;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

public final class ReadAll {
    private static final int PREFIX_BYTES = 5;
    private static final Duration POLL = Duration.ofMillis(200);
    private static final Duration REGISTRY_WAIT_MAX = Duration.ofSeconds(10);
    // NaN and infinities as Python's json reads and writes them.
    private static final ObjectMapper JSON =
            JsonMapper.builder().disable(JsonWriteFeature.WRITE_NAN_AS_STRINGS).build();

    private final HttpClient http = HttpClient.newBuilder().proxy(HttpClient.Builder.NO_PROXY).build();
    private final Map<Integer, GenericDatumReader<Object>> readers = new HashMap<>();
    private final String schemas;
    private final JsonGenerator out;
    private BinaryDecoder decoder;

    private ReadAll(String schemas, JsonGenerator out) {
        this.schemas = schemas;
        this.out = out;
    }

    public static void main(String[] args) throws Exception {
        String bootstrap = args[0], topic = args[1], schemas = args[2], isolation = args[3];
        long atLeast = Long.parseLong(args[4]);
        long deadline = System.nanoTime() + Long.parseLong(args[5]) * 1_000_000;
        Map<String, Object> settings = Map.of(
                "bootstrap.servers", bootstrap, "isolation.level", isolation, "max.poll.records", 5_000,
                "enable.auto.commit", false, "allow.auto.create.topics", false);
        var bytes = new ByteArrayDeserializer();
        try (var out = JSON.createGenerator(new BufferedOutputStream(System.out, 1 << 20));
                var consumer = new KafkaConsumer<>(settings, bytes, bytes)) {
            out.setRootValueSeparator(null);
            new ReadAll(schemas, out).read(consumer, topic, atLeast, deadline);
        }
    }

    private void read(KafkaConsumer<byte[], byte[]> consumer, String topic, long atLeast, long deadline)
            throws IOException, InterruptedException {
        List<TopicPartition> partitions = new ArrayList<>();
        for (var each : consumer.partitionsFor(topic)) partitions.add(new TopicPartition(topic, each.partition()));
        if (partitions.isEmpty()) throw new IllegalArgumentException("there is no topic " + topic);
        consumer.assign(partitions);
        consumer.seekToBeginning(partitions);
        long count = 0;
        Map<TopicPartition, Long> ends = Map.of();
        while (true) {
            if (System.nanoTime() > deadline) {
                throw new IllegalStateException(topic + ": " + count + " records of " + atLeast + "; ends: " + ends);
            }
            if (reached(consumer, ends)) {
                var seen = ends;
                ends = consumer.endOffsets(partitions);
                if (ends.equals(seen) && count >= atLeast) return;
            }
            for (var record : consumer.poll(POLL)) {
                write(record);
                count++;
            }
        }
    }

    private static boolean reached(KafkaConsumer<?, ?> consumer, Map<TopicPartition, Long> ends) {
        return ends.entrySet().stream().allMatch(end -> consumer.position(end.getKey()) >= end.getValue());
    }

    private void write(ConsumerRecord<byte[], byte[]> record) throws IOException, InterruptedException {
        out.writeStartObject();
        out.writeNumberField("partition", record.partition());
        out.writeNumberField("offset", record.offset());
        out.writeNumberField("timestamp", record.timestamp());
        out.writeFieldName("key");
        writeBytes(record.key());
        out.writeArrayFieldStart("headers");
        for (var header : record.headers()) {
            out.writeStartArray();
            out.writeString(header.key());
            writeBytes(header.value());
            out.writeEndArray();
        }
        out.writeEndArray();
        if (record.value() != null) {
            try {
                writeDecoded(record.value());
            } catch (IOException | RuntimeException error) {
                String place = record.topic() + "/" + record.partition() + "/" + record.offset();
                throw new IOException(place + ": " + error.getMessage(), error);
            }
        }
        out.writeEndObject();
        out.writeRaw('\n');
    }

    private void writeDecoded(byte[] framed) throws IOException, InterruptedException {
        if (framed.length < PREFIX_BYTES || framed[0] != 0) throw new IOException("no zero byte and id in front");
        int id = ByteBuffer.wrap(framed).getInt(1);
        decoder = DecoderFactory.get().binaryDecoder(framed, PREFIX_BYTES, framed.length - PREFIX_BYTES, decoder);
        Object datum = reader(id).read(null, decoder);
        if (!decoder.isEnd()) throw new IOException("bytes follow the datum");
        out.writeNumberField("schema_id", id);
        out.writeFieldName("value");
        writeDatum(datum);
    }

    private GenericDatumReader<Object> reader(int id) throws IOException, InterruptedException {
        var known = readers.get(id);
        if (known != null) return known;
        var made = new GenericDatumReader<Object>(new Schema.Parser().parse(schemaText(id)));
        readers.put(id, made);
        return made;
    }

    private String schemaText(int id) throws IOException, InterruptedException {
        if (!schemas.startsWith("http")) return Files.readString(Path.of(schemas, id + ".avsc"));
        var request = HttpRequest.newBuilder(URI.create(schemas + "/schemas/ids/" + id)).timeout(REGISTRY_WAIT_MAX);
        var answer = http.send(request.build(), HttpResponse.BodyHandlers.ofString());
        if (answer.statusCode() != 200) throw new IOException("no schema " + id + ": " + answer.body());
        return JSON.readTree(answer.body()).get("schema").asText();
    }

    private void writeDatum(Object datum) throws IOException {
        if (datum instanceof GenericRecord record) {
            out.writeStartObject();
            for (var field : record.getSchema().getFields()) {
                out.writeFieldName(field.name());
                writeDatum(record.get(field.pos()));
            }
            out.writeEndObject();
        } else if (datum instanceof Collection<?> items) {
            out.writeStartArray();
            for (Object item : items) writeDatum(item);
            out.writeEndArray();
        } else if (datum instanceof Map<?, ?> map) {
            out.writeStartObject();
            for (var entry : map.entrySet()) {
                out.writeFieldName(entry.getKey().toString());
                writeDatum(entry.getValue());
            }
            out.writeEndObject();
        } else if (datum instanceof CharSequence || datum instanceof GenericEnumSymbol) {
            out.writeString(datum.toString());
        } else if (datum instanceof Float || datum instanceof Double) {
            // Every float is a double; Java prints as many digits of a double as tell it from its neighbours.
            out.writeNumber(((Number) datum).doubleValue());
        } else if (datum instanceof Integer || datum instanceof Long) {
            out.writeNumber(((Number) datum).longValue());
        } else if (datum instanceof Boolean truth) {
            out.writeBoolean(truth);
        } else if (datum == null) {
            out.writeNull();
        } else {
            throw new IOException("bytes and fixed are not written: " + datum.getClass());
        }
    }

    private void writeBytes(byte[] bytes) throws IOException {
        if (bytes == null) out.writeNull();
        else out.writeBinary(bytes);
    }
}
