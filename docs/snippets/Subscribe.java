// Prints predictions as they come. Needs nothing of the scorer, and these two jars with what they depend on:
//DEPS org.apache.kafka:kafka-clients:4.3.1
//DEPS org.apache.avro:avro:1.12.2
// java -cp 'jars/*' Subscribe.java 127.0.0.1:9092 http://127.0.0.1:8081/apis/ccompat/v7 predictions.lead-score

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.DecoderFactory;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

public class Subscribe {
    static final HttpClient HTTP = HttpClient.newHttpClient();
    static final Map<Integer, Schema> SCHEMAS = new HashMap<>(); // an id names one schema for ever: ask once
    static volatile boolean running = true;

    public static void main(String[] args) throws Exception {
        Thread main = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            running = false; // Ctrl+C: leave the group
            try { main.join(); } catch (InterruptedException ignored) { }
        }));
        Map<String, Object> settings = Map.of(
                "bootstrap.servers", args[0], "group.id", "java-subscriber", "auto.offset.reset", "earliest",
                "isolation.level", "read_committed", "enable.auto.commit", false);
        var bytes = new ByteArrayDeserializer();
        try (var consumer = new KafkaConsumer<>(settings, bytes, bytes)) {
            consumer.subscribe(List.of(args[2]));
            while (running) {
                for (var record : consumer.poll(Duration.ofSeconds(1))) { // a repeat has the same prediction_id
                    if (record.value() == null) continue; // its key is erased: delete what you keep of it
                    System.out.println(decode(record.value(), args[1])); // act on lane "live" alone
                }
                consumer.commitSync(); // only what was dealt with: after a crash the rest comes again
            }
        }
    }

    static GenericRecord decode(byte[] value, String registry) throws IOException, InterruptedException {
        var prefix = ByteBuffer.wrap(value); // Confluent's wire format: a zero, the schema's id, Avro
        if (prefix.get() != 0) throw new IOException("not in Confluent's wire format");
        var reader = new GenericDatumReader<GenericRecord>(schema(prefix.getInt(), registry));
        return reader.read(null, DecoderFactory.get().binaryDecoder(value, 5, value.length - 5, null));
    }

    static Schema schema(int id, String registry) throws IOException, InterruptedException {
        if (!SCHEMAS.containsKey(id)) {
            var request = HttpRequest.newBuilder(URI.create(registry + "/schemas/ids/" + id));
            var answer = HTTP.send(request.timeout(Duration.ofSeconds(10)).build(), BodyHandlers.ofString());
            if (answer.statusCode() != 200) throw new IOException(answer.body());
            String text = new ObjectMapper().readTree(answer.body()).get("schema").asText();
            SCHEMAS.put(id, new Schema.Parser().parse(text));
        }
        return SCHEMAS.get(id);
    }
}
