package edgeward.demo;

import android.app.Activity;
import android.graphics.Color;
import android.graphics.Typeface;
import android.os.Bundle;
import android.view.View;
import android.widget.AdapterView;
import android.widget.ArrayAdapter;
import android.widget.Button;
import android.widget.EditText;
import android.widget.LinearLayout;
import android.widget.ScrollView;
import android.widget.Spinner;
import android.widget.TextView;
import edgeward.demo.logic.Demo;
import edgeward.demo.logic.EdgewardException;
import edgeward.demo.logic.Ink;
import edgeward.demo.logic.InputSpec;
import edgeward.demo.logic.Tensor;
import edgeward.demo.logic.Utf8;
import java.io.IOException;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/** One screen: verdicts of the self-test, a place to draw or to type, the answer. */
public final class MainActivity extends Activity {
    private static final String BUNDLES = "bundles";
    private static final int PADDING_DP = 16;

    /** One thread for the interpreter: several in one give wrong answers without an error. */
    private final ExecutorService worker = Executors.newSingleThreadExecutor();

    private LinearLayout page;
    private LinearLayout inputs;
    private TextView verdict;
    private TextView result;

    /** Only the worker uses these two. */
    private Demo demo;

    private int nextGolden;

    /** A raw sample for the model, made on the worker. */
    private interface Sample {
        Map<String, Tensor> make();
    }

    @Override
    protected void onCreate(Bundle state) {
        super.onCreate(state);
        page = new LinearLayout(this);
        page.setOrientation(LinearLayout.VERTICAL);
        int padding = (int) (PADDING_DP * getResources().getDisplayMetrics().density);
        page.setPadding(padding, padding, padding, padding);
        inputs = new LinearLayout(this);
        inputs.setOrientation(LinearLayout.VERTICAL);
        verdict = text("");
        result = text("");
        ScrollView scroll = new ScrollView(this);
        scroll.setFitsSystemWindows(true);
        scroll.addView(page);
        setContentView(scroll);
        try {
            choose(getAssets().list(BUNDLES));
        } catch (IOException error) {
            verdict.setText(error.toString());
        }
        page.addView(verdict);
        page.addView(inputs);
        page.addView(result);
    }

    @Override
    protected void onDestroy() {
        worker.execute(
                new Runnable() {
                    @Override
                    public void run() {
                        close();
                    }
                });
        worker.shutdown();
        super.onDestroy();
    }

    private void choose(final String[] names) {
        if (names.length == 0) {
            verdict.setText("The app holds no bundle: see README.md, export_assets.");
            return;
        }
        Spinner spinner = new Spinner(this);
        spinner.setAdapter(
                new ArrayAdapter<String>(this, android.R.layout.simple_spinner_dropdown_item, names));
        spinner.setOnItemSelectedListener(
                new AdapterView.OnItemSelectedListener() {
                    @Override
                    public void onItemSelected(AdapterView<?> list, View row, int at, long id) {
                        open(names[at]);
                    }

                    @Override
                    public void onNothingSelected(AdapterView<?> list) {}
                });
        page.addView(spinner);
    }

    private void open(final String name) {
        inputs.removeAllViews();
        result.setText("");
        verdict.setTextColor(Color.GRAY);
        verdict.setText("checking " + name + " ...");
        worker.execute(
                new Runnable() {
                    @Override
                    public void run() {
                        close();
                        try {
                            AssetFiles files = new AssetFiles(getAssets(), BUNDLES + "/" + name);
                            demo = new Demo(files, new TfliteModel.Loader());
                            opened(demo);
                        } catch (EdgewardException | IOException error) {
                            failed(error);
                        }
                    }
                });
    }

    private void close() {
        if (demo != null) {
            demo.close();
        }
        demo = null;
        nextGolden = 0;
    }

    private void opened(final Demo opened) {
        runOnUiThread(
                new Runnable() {
                    @Override
                    public void run() {
                        verdict.setTextColor(opened.trusted() ? Color.rgb(0, 110, 0) : Color.RED);
                        String answers = "\nanswers come from " + opened.artifact().id;
                        verdict.setText(Demo.lines(opened.checks) + answers);
                        showInputs(opened);
                    }
                });
    }

    private void failed(final Exception error) {
        runOnUiThread(
                new Runnable() {
                    @Override
                    public void run() {
                        verdict.setTextColor(Color.RED);
                        verdict.setText(error.getMessage());
                        inputs.removeAllViews();
                    }
                });
    }

    private void showInputs(final Demo opened) {
        inputs.removeAllViews();
        String name = opened.onlyInput();
        InputSpec spec = name == null ? null : opened.manifest.inputs.get(name);
        if (spec != null && spec.kind.equals("image")) {
            showDrawing(name, spec);
        } else if (spec != null && spec.kind.equals("text")) {
            showTyping(name);
        }
        if (!opened.golden.inputs.isEmpty()) {
            button(
                    "Next golden sample",
                    new Runnable() {
                        @Override
                        public void run() {
                            answerGolden();
                        }
                    });
        }
    }

    private void showDrawing(final String name, final InputSpec spec) {
        final DrawView[] view = new DrawView[1];
        view[0] =
                new DrawView(
                        this,
                        new Runnable() {
                            @Override
                            public void run() {
                                final byte[] ink = view[0].ink();
                                answer(
                                        new Sample() {
                                            @Override
                                            public Map<String, Tensor> make() {
                                                Tensor raw = Ink.toRaw(ink, DrawView.SIDE, spec);
                                                return Collections.singletonMap(name, raw);
                                            }
                                        });
                            }
                        });
        inputs.addView(view[0]);
        button(
                "Clear",
                new Runnable() {
                    @Override
                    public void run() {
                        view[0].clear();
                        result.setText("");
                    }
                });
    }

    private void showTyping(final String name) {
        final EditText field = new EditText(this);
        field.setHint("Type a sentence");
        inputs.addView(field);
        button(
                "Classify",
                new Runnable() {
                    @Override
                    public void run() {
                        final String typed = field.getText().toString();
                        answer(
                                new Sample() {
                                    @Override
                                    public Map<String, Tensor> make() {
                                        Tensor raw = Tensor.text(Utf8.encode(typed));
                                        return Collections.singletonMap(name, raw);
                                    }
                                });
                    }
                });
    }

    private void answerGolden() {
        answer(
                new Sample() {
                    @Override
                    public Map<String, Tensor> make() {
                        List<Map<String, Tensor>> samples = demo.golden.inputs;
                        return samples.get(nextGolden++ % samples.size());
                    }
                });
    }

    private void answer(final Sample sample) {
        worker.execute(
                new Runnable() {
                    @Override
                    public void run() {
                        if (demo == null) {
                            return;
                        }
                        StringBuilder text = new StringBuilder();
                        try {
                            for (String line : Demo.lines(demo.answer(sample.make()))) {
                                text.append(line).append('\n');
                            }
                        } catch (EdgewardException error) {
                            text.append(error.getMessage());
                        }
                        show(text.toString());
                    }
                });
    }

    private void show(final String text) {
        runOnUiThread(
                new Runnable() {
                    @Override
                    public void run() {
                        result.setText(text);
                    }
                });
    }

    private TextView text(String content) {
        TextView view = new TextView(this);
        view.setTypeface(Typeface.MONOSPACE);
        view.setText(content);
        return view;
    }

    private void button(String label, final Runnable action) {
        Button button = new Button(this);
        button.setText(label);
        button.setOnClickListener(
                new View.OnClickListener() {
                    @Override
                    public void onClick(View view) {
                        action.run();
                    }
                });
        inputs.addView(button);
    }
}
