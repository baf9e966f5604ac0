package edgeward.demo;

import android.content.Context;
import android.graphics.Bitmap;
import android.graphics.Canvas;
import android.graphics.Color;
import android.graphics.Paint;
import android.graphics.Path;
import android.graphics.Rect;
import android.view.MotionEvent;
import android.view.View;

/** A square to draw in with a finger. */
final class DrawView extends View {
    /** Pixels of the drawing, whatever the screen's are: the same stroke on every device. */
    static final int SIDE = 280;

    private static final float STROKE = 24;

    private final Bitmap bitmap = Bitmap.createBitmap(SIDE, SIDE, Bitmap.Config.ARGB_8888);
    private final Canvas canvas = new Canvas(bitmap);
    private final Paint pen = new Paint(Paint.ANTI_ALIAS_FLAG);
    private final Paint smooth = new Paint(Paint.FILTER_BITMAP_FLAG);
    private final Path path = new Path();
    private final Rect area = new Rect();
    private final Runnable drawn;

    /** Makes the view; {@code drawn} runs after each stroke. */
    DrawView(Context context, Runnable drawn) {
        super(context);
        this.drawn = drawn;
        pen.setColor(Color.WHITE);
        pen.setStyle(Paint.Style.STROKE);
        pen.setStrokeWidth(STROKE);
        pen.setStrokeCap(Paint.Cap.ROUND);
        pen.setStrokeJoin(Paint.Join.ROUND);
        clear();
    }

    void clear() {
        bitmap.eraseColor(Color.BLACK);
        path.reset();
        invalidate();
    }

    /** Returns the ink of each pixel, 0 to 255, row by row. */
    byte[] ink() {
        int[] pixels = new int[SIDE * SIDE];
        bitmap.getPixels(pixels, 0, SIDE, 0, 0, SIDE, SIDE);
        byte[] ink = new byte[pixels.length];
        for (int i = 0; i < ink.length; i++) {
            ink[i] = (byte) Color.red(pixels[i]);
        }
        return ink;
    }

    @Override
    protected void onMeasure(int widthSpec, int heightSpec) {
        int width = MeasureSpec.getSize(widthSpec);
        setMeasuredDimension(width, width);
    }

    @Override
    protected void onDraw(Canvas target) {
        area.set(0, 0, getWidth(), getHeight());
        target.drawBitmap(bitmap, null, area, smooth);
    }

    @Override
    public boolean onTouchEvent(MotionEvent event) {
        float x = event.getX() * SIDE / Math.max(1, getWidth());
        float y = event.getY() * SIDE / Math.max(1, getHeight());
        switch (event.getActionMasked()) {
            case MotionEvent.ACTION_DOWN:
                // Otherwise the list around would scroll under the finger.
                getParent().requestDisallowInterceptTouchEvent(true);
                path.reset();
                path.moveTo(x, y);
                path.lineTo(x + 0.1f, y); // a tap is a dot
                break;
            case MotionEvent.ACTION_MOVE:
                path.lineTo(x, y);
                break;
            case MotionEvent.ACTION_UP:
                performClick();
                drawn.run();
                return true;
            default:
                return true;
        }
        canvas.drawPath(path, pen);
        invalidate();
        return true;
    }

    @Override
    public boolean performClick() {
        return super.performClick();
    }
}
